# The bundles on your board: `snakemake board --config 'board={host: root@172.32.0.93, sdk: ...}'`. Not part of `all`.

# This block of the config gives the options of run_on_board.py.
BOARD = [f"--{name}={value}" for name, value in config["board"].items()]


rule board:
    input:
        bundles=rules.bundle.output.bundles,
        int8=collected(rules.quantize.output.detections),
        build=collected(rules.quantize.output.build),
        verdict=collected(rules.judge.output.verdict),
        baseline=collected(rules.evaluate_exported.output.resampled),
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        # The table and the report are made again with the board's results, so they are newer than these.
        report=ancient(rules.make_report.output.page),
        step=step("run_on_board"),
        names=rules.fetch_dataset.output.names,
        collect=step("collect"),
        make_report=step("make_report"),
    output:
        board=directory(results("board")),
    log:
        run=logs("board"),
        collect=logs("board_collect"),
        report=logs("board_report"),
    benchmark:
        benchmarks("board")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=60,
    params:
        **config["sweep"],
        **EVALUATION,
        board=BOARD,
        part=config["evaluation"]["images"],
        run=lambda w, output: str(Path(output.board).parent),
        also=ALSO_OPTION,
        config=CONFIG_AS_GIVEN,
    message:
        "Run the bundles on the board"
    shell:
        "RV1106_QUIET= python {input.step[0]:q} --run {params.run:q} --part {params.part} --names {input.names:q}"
        " --resamples {params.resamples} --seed {params.seed} --oks-sigmas {params.oks_sigmas:q}"
        " --operating {params.operating}"
        " {params.board:q} --log {log.run:q}"
        " && python {input.collect[0]:q} --run {params.run:q} --model {params.model:q} --imgsz {params.imgsz:q}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images} {params.also:q} --log {log.collect:q}"
        " && python {input.make_report[0]:q} --run {params.run:q} --config {params.config:q}"
        " --output {input.report:q} --log {log.report:q}"
