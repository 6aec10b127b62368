# Run only when requested by name: `snakemake frontier`, `snakemake calibration_study`, `snakemake toolkit_study`.

FRONTIER = studied(config["frontier"], config["task"])
STUDY = studied(config["calibration_study"], config["task"])
TOOLKITS = studied(config["toolkit_study"], config["task"])

# A calibration set drawn with its own seed, and a graph quantized on it.
STUDY_SAMPLE = f"{SAMPLE}-{{seed}}"
STUDY_VARIANT = f"{VARIANT}-{{seed}}"


rule frontier:
    input:
        measured=config["verdict"]["measured"],
        step=step("frontier"),
    output:
        csv=results("frontier.csv"),
        md=results("frontier.md"),
    log:
        logs("frontier"),
    benchmark:
        benchmarks("frontier")
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
        toolkit=config["toolkit"],
        cma_mb=config["verdict"]["cma_mb"],
        camera_mb=config["verdict"]["camera_mb"],
        clock_mhz=config["verdict"]["clock_mhz"],
    message:
        "Find the largest image sizes that the board will run"
    shell:
        "RV1106_QUIET= python {input.step[0]:q} --model {params.model} --classes {params.classes} --shape {params.shape}"
        " --head {params.head} --largest {params.largest} --seed {params.seed} --opset {params.opset}"
        " --end2end {params.end2end}"
        " --platform {params.platform} --toolkit {params.toolkit} --cma-mb {params.cma_mb}"
        " --camera-mb {params.camera_mb} --clock-mhz {params.clock_mhz} --measured {input.measured:q}"
        " --csv {output.csv:q} --markdown {output.md:q} --log {log:q}"


use rule sample_calibration as sample_for_study with:
    output:
        images=results("study/calibration", STUDY_SAMPLE, "images.txt"),
    log:
        logs("sample_for_study", STUDY_SAMPLE),
    benchmark:
        benchmarks("sample_for_study", STUDY_SAMPLE)
    params:
        seed="{seed}",
    message:
        "Choose {wildcards.max_images} calibration images at {wildcards.imgsz}, seed {wildcards.seed}"


use rule quantize as quantize_for_study with:
    input:
        model=rules.graph_surgery.output.model,
        calibration=rules.sample_for_study.output.images,
        ranges=ancient(measured),
        pool=rules.letterbox_pool.output.pool,
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("quantize"),
    output:
        rknn=temp(results("study/rknn", STUDY_VARIANT, "model.rknn")),
        build=results("study/rknn", STUDY_VARIANT, "build.json"),
        detections=results("study/detections", f"{STUDY_VARIANT}.npz"),
    log:
        results("study/rknn", STUDY_VARIANT, "build.log"),
    benchmark:
        benchmarks("quantize_for_study", STUDY_VARIANT)
    message:
        "Quantize {wildcards.model} {wildcards.imgsz} {wildcards.head} on {wildcards.max_images} images, seed {wildcards.seed}"


use rule evaluate_int8 as evaluate_for_study with:
    input:
        detections=rules.quantize_for_study.output.detections,
        baseline=rules.evaluate_exported.output.resampled,
        labels=rules.fetch_dataset.output.labels,
        names=rules.fetch_dataset.output.names,
        step=step("evaluate"),
    output:
        metrics=results("study/metrics", f"{STUDY_VARIANT}.json"),
        resampled=results("study/metrics", f"{STUDY_VARIANT}.npz"),
    log:
        logs("evaluate_for_study", STUDY_VARIANT),
    benchmark:
        benchmarks("evaluate_for_study", STUDY_VARIANT)
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} in INT8, {wildcards.max_images} images, seed {wildcards.seed}"


rule evaluate_draws:
    input:
        model=rules.graph_surgery.output.model,
        ranges=rules.measure_ranges.output.ranges,
        pool=rules.letterbox_pool.output.pool,
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("evaluate_draws"),
    output:
        draws=results("study/draws", f"{GRAPH}.json"),
    log:
        logs("evaluate_draws", GRAPH),
    benchmark:
        benchmarks("evaluate_draws", GRAPH)
    conda:
        ENVIRONMENT
    threads: every_core
    resources:
        mem_mb=lambda w, threads: 1500 + 500 * threads,
        runtime=240,
    params:
        **DETECTION,
        platform=config["platform"],
        simulator=config["evaluation"]["simulator"],
        algorithm=STUDY["algorithm"],
        oks_sigmas=config["evaluation"]["oks_sigmas"],
        max_images=STUDY["max_images"],
        seed=STUDY["seed"],
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} in INT8 with many draws of calibration images"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --ranges {input.ranges:q} --pool {input.pool:q}"
        " --platform {params.platform} --simulator {params.simulator} --algorithm {params.algorithm}"
        " --dataset {params.folder:q} --part {params.part} --names {input.names:q}"
        " --oks-sigmas {params.oks_sigmas:q} --max-images {params.max_images}"
        " --seed {params.seed} --processes {threads} --draws {output.draws:q} --log {log:q}"


# The toolkit's simulator needs a build per draw; the others are made from each draw's ranges, all in one process.
# Classifiers are not drawn so, because nothing decodes them.
DRAWN = config["evaluation"]["simulator"] != "toolkit" and config["task"] != CLASSIFY
OF_DRAWS = rules.evaluate_draws.output.draws if DRAWN else rules.evaluate_for_study.output.metrics


rule calibration_study:
    input:
        exported=expand(rules.evaluate_exported.output.metrics, **STUDY),
        int8=expand(OF_DRAWS, **STUDY),
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
        logs("calibration_study"),
    benchmark:
        benchmarks("calibration_study")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        **STUDY,
        folder=lambda w, output: str(Path(output.csv).parent),
        draws=lambda w, input: ["--draws", *input.int8] if DRAWN else [],
    message:
        "Collect the calibration study"
    shell:
        "python {input.step[0]:q} --run {params.folder:q} --model {params.model:q} --imgsz {params.imgsz}"
        " --head {params.head} --algorithm {params.algorithm} --max-images {params.max_images} --seed {params.seed}"
        " {params.draws:q}"
        " --csv {output.csv:q} --markdown {output.md:q} --plot {output.plot:q} --log {log:q}"


rule toolkit_study:
    input:
        model=expand(rules.graph_surgery.output.model, **TOOLKITS),
        calibration=expand(rules.sample_calibration.output.images, **TOOLKITS),
        pool=expand(rules.letterbox_pool.output.pool, **TOOLKITS),
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        baseline=expand(rules.evaluate_exported.output.resampled, **TOOLKITS),
        step=step("toolkit_study"),
        quantize=step("quantize"),
    output:
        csv=results("toolkit_study.csv"),
        md=results("toolkit_study.md"),
    log:
        logs("toolkit_study"),
    benchmark:
        benchmarks("toolkit_study")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2500,
        runtime=240,
    params:
        **TOOLKITS,
        part=config["evaluation"]["images"],
        folder=lambda w, input: str(Path(input.split).parent),
        oks_sigmas=config["evaluation"]["oks_sigmas"],
        platform=config["platform"],
        cma_mb=config["verdict"]["cma_mb"],
        camera_mb=config["verdict"]["camera_mb"],
    message:
        "Build {params.model} {params.imgsz} {params.head} with {params.toolkit}"
    shell:
        "python {input.step[0]:q} --toolkits {params.toolkit} --onnx {input.model:q} --calibration {input.calibration:q}"
        " --platform {params.platform} --algorithm {params.algorithm} --head {params.head}"
        " --dataset {params.folder:q} --part {params.part} --names {input.names:q} --baseline {input.baseline:q}"
        " --oks-sigmas {params.oks_sigmas:q} --cma-mb {params.cma_mb} --camera-mb {params.camera_mb}"
        " --csv {output.csv:q} --markdown {output.md:q} --log {log:q}"
