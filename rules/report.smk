# The table of all variants, and its plots.


rule collect:
    input:
        exported=expand(rules.evaluate_exported.output.metrics, **config["sweep"]),
        adapted=expand(rules.evaluate_adapted.output.metrics, **config["sweep"]),
        int8=expand(rules.evaluate_int8.output.metrics, **config["sweep"]),
        build=expand(rules.compile_rknn.output.build, **config["sweep"]),
        step=step("collect"),
    output:
        csv=report(results("table.csv"), category="Comparison", caption="../report/table.rst"),
        md=results("table.md"),
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
    log:
        results("logs/collect.log"),
    benchmark:
        results("benchmarks/collect.tsv")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
    params:
        **config["sweep"],
        folder=lambda w, output: str(Path(output.csv).parent),
    message:
        "Collect the table"
    shell:
        "python scripts/collect.py --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz:q}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images} --log {log:q}"
