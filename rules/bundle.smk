# What the board's programmer needs, proven against the simulator. Not part of `all`: it needs a C compiler.


rule bundle:
    input:
        exported=expand(rules.evaluate_exported.output.metrics, **config["sweep"]),
        adapted=expand(rules.evaluate_adapted.output.metrics, **config["sweep"]),
        int8=expand(rules.evaluate_int8.output.metrics, **config["sweep"]),
        model=expand(rules.graph_surgery.output.model, **config["sweep"]),
        calibration=expand(rules.sample_calibration.output.images, **config["sweep"]),
        pool=expand(rules.letterbox_pool.output.pool, **config["sweep"]),
        rknn=expand(rules.quantize.output.rknn, **config["sweep"]),
        build=expand(rules.quantize.output.build, **config["sweep"]),
        verdict=expand(rules.judge.output.verdict, **config["sweep"]),
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
        part=config["evaluation"]["images"],
    message:
        "Make the deploy bundle ({params.bundle} of the sweep)"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz:q}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images}"
        " --bundle {params.bundle} --part {params.part}"
        " --names {input.names:q} --processes {threads} --log {log:q}"
