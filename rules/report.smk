# The table of all variants, its plots, images with detections, and the report that contains them all.

# Called only once, because it warns about variants that are not in the sweep.
LAYERS = layers_asked_for()


rule collect:
    input:
        exported=collected(rules.evaluate_exported.output.metrics),
        adapted=collected(rules.evaluate_adapted.output.metrics),
        int8=collected(rules.evaluate_int8.output.metrics),
        curves=collected(rules.evaluate_exported.output.resampled)
        + collected(rules.evaluate_int8.output.resampled),
        build=collected(rules.quantize.output.build),
        verdict=collected(rules.judge.output.verdict),
        step=step("collect"),
    output:
        csv=report(results("table.csv"), category="Comparison", caption="../report/table.rst"),
        md=results("table.md"),
        summary=results("summary.json"),
        by_size=report(
            results("plots/map_over_imgsz.png"),
            category="Comparison",
            caption="../report/map_over_imgsz.rst",
        ),
        by_images=report(
            results("plots/map_over_max_images.png"),
            category="Comparison",
            caption="../report/map_over_max_images.rst",
        ),
        pareto=report(
            results("plots/pareto.png"),
            category="Comparison",
            caption="../report/pareto.rst",
        ),
        classes=report(
            results("plots/class_changes.png"),
            category="Accuracy lost",
            caption="../report/class_changes.rst",
        ),
        thresholds=report(
            results("plots/thresholds.png"),
            category="Confidence threshold",
            caption="../report/thresholds.rst",
        ),
    log:
        logs("collect"),
    benchmark:
        benchmarks("collect")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=15,
    params:
        **config["sweep"],
        also=ALSO_OPTION,
        folder=lambda w, output: str(Path(output.csv).parent),
    message:
        "Collect the table"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz:q}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images} {params.also:q} --log {log:q}"


rule show_detections:
    input:
        exported=rules.collect.input.exported,
        adapted=rules.collect.input.adapted,
        metrics=rules.collect.input.int8,
        build=rules.collect.input.build,
        verdict=rules.collect.input.verdict,
        fp32=collected(rules.detect_exported.output.detections),
        int8=collected(rules.quantize.output.detections),
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("show_detections"),
    output:
        grid=report(
            results("plots/detections.png"), category="Detections", caption="../report/detections.rst"
        ),
        errors=results("errors.json"),
    log:
        logs("show_detections"),
    benchmark:
        benchmarks("show_detections")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        **config["sweep"],
        folder=lambda w, input: str(Path(input.split).parent.parent),
        oks_sigmas=config["evaluation"]["oks_sigmas"],
    message:
        "Find the errors in each image"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz:q}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images}"
        " --names {input.names:q} --oks-sigmas {params.oks_sigmas:q} --output {output.grid:q}"
        " --errors {output.errors:q} --log {log:q}"


rule make_report:
    input:
        table=rules.collect.output.csv,
        plots=[
            rules.collect.output.by_size,
            rules.collect.output.by_images,
            rules.collect.output.pareto,
            rules.collect.output.classes,
            rules.collect.output.thresholds,
        ],
        errors=rules.show_detections.output.errors,
        exported=rules.collect.input.exported,
        int8=rules.collect.input.int8,
        resampled=collected(rules.evaluate_int8.output.resampled),
        build=rules.collect.input.build,
        verdict=rules.collect.input.verdict,
        layers=LAYERS,
        rknn=collected(rules.quantize.output.rknn),
        onnx=collected(rules.export_onnx.output.model) + collected(rules.graph_surgery.output.model),
        weights=collected(rules.download_weights.output.weights),
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        parts=rules.fetch_dataset.output.parts,
        step=step("make_report"),
        page=[
            of_workflow(f"scripts/lib/results/report/page{suffix}") for suffix in (".html.j2", ".css", ".js")
        ],
    output:
        page=report(results("report.html"), category="Report", caption="../report/report.rst"),
    log:
        logs("make_report"),
    benchmark:
        benchmarks("make_report")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=15,
    params:
        config=CONFIG_AS_GIVEN,
        folder=lambda w, output: str(Path(output.page).parent),
    message:
        "Make the report"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --config {params.config:q}"
        " --output {output.page:q} --log {log:q}"
