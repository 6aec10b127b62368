# What is asked for by name only: `snakemake frontier`, `snakemake calibration_study`.

FRONTIER = config["frontier"]
STUDY = config["calibration_study"]


rule frontier:
    input:
        measured=config["verdict"]["measured"],
        step=step("frontier"),
    output:
        csv=results("frontier.csv"),
        md=results("frontier.md"),
    log:
        results("logs/frontier.log"),
    benchmark:
        results("benchmarks/frontier.tsv")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        **FRONTIER,
        opset=config["export"]["opset"],
        end2end=str(config["export"]["end2end"]).lower(),
        platform=config["platform"],
        cma_mb=config["verdict"]["cma_mb"],
        clock_mhz=config["verdict"]["clock_mhz"],
    message:
        "Find the largest image sizes that the board will run"
    shell:
        "python {input.step[0]:q} --model {params.model} --classes {params.classes} --shape {params.shape}"
        " --head {params.head} --largest {params.largest} --seed {params.seed} --opset {params.opset}"
        " --end2end {params.end2end}"
        " --platform {params.platform} --cma-mb {params.cma_mb} --clock-mhz {params.clock_mhz}"
        " --measured {input.measured:q}"
        " --csv {output.csv:q} --markdown {output.md:q} --log {log:q}"


use rule sample_calibration as sample_for_study with:
    output:
        images=results("study/calibration/{imgsz}/{max_images}-{seed}/images.txt"),
    log:
        results("logs/sample_for_study/{imgsz}/{max_images}-{seed}.log"),
    benchmark:
        results("benchmarks/sample_for_study/{imgsz}/{max_images}-{seed}.tsv")
    params:
        seed="{seed}",
    message:
        "Choose {wildcards.max_images} calibration images at {wildcards.imgsz}, seed {wildcards.seed}"


use rule quantize as quantize_for_study with:
    input:
        model=rules.graph_surgery.output.model,
        calibration=rules.sample_for_study.output.images,
        pool=rules.letterbox_pool.output.pool,
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        step=step("quantize"),
    output:
        rknn=temp(results("study/rknn/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}/model.rknn")),
        build=results("study/rknn/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}/build.json"),
        detections=results("study/detections/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}.npz"),
    log:
        results("study/rknn/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}/build.log"),
    benchmark:
        results("benchmarks/quantize_for_study/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}.tsv")
    message:
        "Quantize {wildcards.model} {wildcards.imgsz} {wildcards.head} on {wildcards.max_images} images, seed {wildcards.seed}"


use rule evaluate_int8 as evaluate_for_study with:
    input:
        detections=rules.quantize_for_study.output.detections,
        baseline=rules.evaluate_exported.output.resampled,
        labels=rules.fetch_dataset.output.labels,
        step=step("evaluate"),
    output:
        metrics=results("study/metrics/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}.json"),
        resampled=results("study/metrics/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}.npz"),
    log:
        results("logs/evaluate_for_study/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}.log"),
    benchmark:
        results("benchmarks/evaluate_for_study/{model}/{imgsz}/{head}/{algorithm}-{max_images}-{seed}.tsv")
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} in INT8, {wildcards.max_images} images, seed {wildcards.seed}"


rule calibration_study:
    input:
        exported=expand(rules.evaluate_exported.output.metrics, **STUDY),
        int8=expand(rules.evaluate_for_study.output.metrics, **STUDY),
        step=step("calibration_study"),
    output:
        csv=results("calibration_study.csv"),
        md=results("calibration_study.md"),
        plot=report(
            results("calibration_study.png"),
            category="Comparison",
            caption="../report/calibration_study.rst",
        ),
    log:
        results("logs/calibration_study.log"),
    benchmark:
        results("benchmarks/calibration_study.tsv")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        **STUDY,
        folder=lambda w, output: str(Path(output.csv).parent),
    message:
        "Collect what calibration does"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images} --seed {params.seed}"
        " --csv {output.csv:q} --markdown {output.md:q} --plot {output.plot:q} --log {log:q}"
