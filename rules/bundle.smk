# The bundle for programming the board, proven against the simulator. Not part of `all`, because it needs a C compiler.


rule bundle:
    input:
        exported=collected(rules.evaluate_exported.output.metrics),
        adapted=collected(rules.evaluate_adapted.output.metrics),
        int8=collected(rules.evaluate_int8.output.metrics),
        model=collected(rules.graph_surgery.output.model),
        calibration=collected(rules.sample_calibration.output.images),
        pool=collected(rules.letterbox_pool.output.pool),
        rknn=collected(rules.quantize.output.rknn),
        build=collected(rules.quantize.output.build),
        verdict=collected(rules.judge.output.verdict),
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("make_bundle"),
    output:
        bundles=directory(results("bundle")),
    log:
        logs("bundle"),
    benchmark:
        benchmarks("bundle")
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=2500,
        runtime=120,
    params:
        **config["sweep"],
        folder=lambda w, output: str(Path(output.bundles).parent),
        bundle=config["bundle"],
        also=ALSO_OPTION,
        part=config["evaluation"]["images"],
        oks_sigmas=config["evaluation"]["oks_sigmas"],
    message:
        "Make the deploy bundle ({params.bundle} of the sweep)"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz:q}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images}"
        " {params.also:q} --bundle {params.bundle} --part {params.part}"
        " --names {input.names:q} --oks-sigmas {params.oks_sigmas:q} --processes {threads} --log {log:q}"
