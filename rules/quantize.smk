# Calibration images, the INT8 model and its detections, the verdict on its build, errors layer by layer.

VERDICT = [
    f"--cma-mb={config['verdict']['cma_mb']}",
    f"--camera-mb={config['verdict']['camera_mb']}",
    f"--clock-mhz={config['verdict']['clock_mhz']}",
    f"--measured={config['verdict']['measured']}",
    *(["--stop"] if config["verdict"]["stop"] else []),
]


rule letterbox_pool:
    input:
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        step=step("letterbox_pool"),
    output:
        pool=directory(results("calibration/{imgsz}/letterboxed")),
    log:
        logs("letterbox_pool", "{imgsz}"),
    benchmark:
        benchmarks("letterbox_pool", "{imgsz}")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=300,
        runtime=10,
    params:
        folder=lambda w, input: str(Path(input.images).parent),
    message:
        "Letterbox the calibration pool to {wildcards.imgsz}"
    shell:
        "python {input.step[0]:q} --dataset {params.folder:q} --split {input.split:q}"
        " --imgsz {wildcards.imgsz} --output {output.pool:q} --log {log:q}"


rule sample_calibration:
    input:
        pool=rules.letterbox_pool.output.pool,
        step=step("sample_calibration"),
    output:
        images=results("calibration", SAMPLE, "images.txt"),
    log:
        logs("sample_calibration", SAMPLE),
    benchmark:
        benchmarks("sample_calibration", SAMPLE)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=200,
        runtime=5,
    params:
        seed=config["split"]["seed"],
    message:
        "Choose {wildcards.max_images} calibration images at {wildcards.imgsz}"
    shell:
        "python {input.step[0]:q} --pool {input.pool:q} --max-images {wildcards.max_images}"
        " --seed {params.seed} --output {output.images:q} --log {log:q}"


rule measure_ranges:
    input:
        model=rules.graph_surgery.output.model,
        other=ranges_of_single,
        pool=rules.letterbox_pool.output.pool,
        images=rules.fetch_dataset.output.images,
        step=step("measure_ranges"),
    output:
        ranges=results("calibration/{imgsz}/ranges/{model}/{head}.npz"),
    log:
        logs("measure_ranges", GRAPH),
    benchmark:
        benchmarks("measure_ranges", GRAPH)
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: 1500 + 300 * threads,
        runtime=60,
    params:
        folder=lambda w, input: str(Path(input.images).parent),
        other=lambda w, input: ["--other", *input.other] if input.other else [],
        platform=config["platform"],
        toolkit=config["toolkit"],
    message:
        "Measure the ranges of {wildcards.model} {wildcards.imgsz} {wildcards.head} on the calibration pool"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --pool {input.pool:q} {params.other:q} --dataset {params.folder:q}"
        " --platform {params.platform} --toolkit {params.toolkit} --processes {threads} --output {output.ranges:q} --log {log:q}"


rule quantize:
    input:
        model=rules.graph_surgery.output.model,
        calibration=rules.sample_calibration.output.images,
        ranges=ancient(measured),
        pool=rules.letterbox_pool.output.pool,
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("quantize"),
    output:
        rknn=results("rknn", VARIANT, "model.rknn"),
        build=results("rknn", VARIANT, "build.json"),
        detections=results("detections", f"{VARIANT}.npz"),
    log:
        results("rknn", VARIANT, "build.log"),
    benchmark:
        benchmarks("quantize", VARIANT)
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: (1500 if w.algorithm in OF_TOOLKIT else 3000) + 500 * threads,
        runtime=lambda w: 60 if w.algorithm == "normal" else 720,
    params:
        **DETECTION,
        ranges=ranges_option,
        platform=config["platform"],
        toolkit=config["toolkit"],
        simulator=config["evaluation"]["simulator"],
    message:
        "Quantize {wildcards.model} {wildcards.imgsz} {wildcards.head} on {wildcards.max_images} images, detect in INT8"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --calibration {input.calibration:q}"
        " {params.ranges:q}"
        " --platform {params.platform} --toolkit {params.toolkit}"
        " --algorithm {wildcards.algorithm} --simulator {params.simulator}"
        " --dataset {params.folder:q} --part {params.part} --names {input.names:q} --processes {threads}"
        " --output {output.rknn:q} --build {output.build:q} --detections {output.detections:q} --log {log:q}"


rule judge:
    input:
        build=rules.quantize.output.build,
        measured=config["verdict"]["measured"],
        step=step("judge"),
    output:
        verdict=results("rknn", VARIANT, "verdict.json"),
    log:
        logs("judge", VARIANT),
    benchmark:
        benchmarks("judge", VARIANT)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    params:
        verdict=VERDICT,
    message:
        "Judge whether the board will run {wildcards.model} {wildcards.imgsz} {wildcards.head} ({wildcards.max_images} images)"
    shell:
        "python {input.step[0]:q} --build {input.build:q} --head {wildcards.head} {params.verdict:q}"
        " --verdict {output.verdict:q} --log {log:q}"


rule analyse_layers:
    input:
        model=rules.graph_surgery.output.model,
        calibration=rules.sample_calibration.output.images,
        ranges=ancient(measured),
        pool=rules.letterbox_pool.output.pool,
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("analyse_layers"),
    output:
        csv=results("layers", f"{VARIANT}.csv"),
        plot=report(
            results("layers", f"{VARIANT}.png"),
            category="Layers",
            caption="../report/layers.rst",
        ),
    log:
        logs("analyse_layers", VARIANT),
    benchmark:
        benchmarks("analyse_layers", VARIANT)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2500,
        runtime=60,
    params:
        folder=lambda w, input: str(Path(input.split).parent),
        ranges=ranges_option,
        platform=config["platform"],
        toolkit=config["toolkit"],
    message:
        "Compare the layers of {wildcards.model} {wildcards.imgsz} {wildcards.head} in INT8 with FP32"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --calibration {input.calibration:q}"
        " {params.ranges:q}"
        " --platform {params.platform} --toolkit {params.toolkit}"
        " --algorithm {wildcards.algorithm} --dataset {params.folder:q}"
        " --names {input.names:q} --csv {output.csv:q} --plot {output.plot:q} --log {log:q}"
