# Each ONNX's detections in FP32, and mAP from detections: as exported, after surgery, in INT8.


rule detect_exported:
    input:
        model=rules.export_onnx.output.model,
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("detect"),
    output:
        detections=results("detections", SIZE, "exported.npz"),
    log:
        logs("detect_exported", SIZE),
    benchmark:
        benchmarks("detect_exported", SIZE)
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: 300 + 400 * threads,
        runtime=60,
    params:
        **DETECTION,
        class_order=config["evaluation"]["class_order"],
    message:
        "Detect with {wildcards.model} {wildcards.imgsz} as exported, FP32"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --dataset {params.folder:q} --part {params.part}"
        " --names {input.names:q} --class-order {params.class_order} --processes {threads}"
        " --detections {output.detections:q} --log {log:q}"


use rule detect_exported as detect_adapted with:
    input:
        model=rules.graph_surgery.output.model,
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        names=rules.fetch_dataset.output.names,
        step=step("detect"),
    output:
        detections=results("detections", GRAPH, "adapted.npz"),
    log:
        logs("detect_adapted", GRAPH),
    benchmark:
        benchmarks("detect_adapted", GRAPH)
    message:
        "Detect with {wildcards.model} {wildcards.imgsz} {wildcards.head} after surgery, FP32"


rule evaluate_exported:
    input:
        detections=rules.detect_exported.output.detections,
        labels=rules.fetch_dataset.output.labels,
        names=rules.fetch_dataset.output.names,
        step=step("evaluate"),
    output:
        metrics=results("metrics", SIZE, "exported.json"),
        resampled=results("metrics", SIZE, "exported.npz"),
    log:
        logs("evaluate_exported", SIZE),
    benchmark:
        benchmarks("evaluate_exported", SIZE)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        **EVALUATION,
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} as exported, FP32"
    shell:
        "python {input.step[0]:q} --detections {input.detections:q} --dataset {params.folder:q}"
        " --names {input.names:q} --resamples {params.resamples} --seed {params.seed}"
        " --oks-sigmas {params.oks_sigmas:q} --operating {params.operating}"
        " --metrics {output.metrics:q} --resampled {output.resampled:q} --log {log:q}"


rule evaluate_adapted:
    input:
        detections=rules.detect_adapted.output.detections,
        labels=rules.fetch_dataset.output.labels,
        names=rules.fetch_dataset.output.names,
        step=step("evaluate"),
    output:
        metrics=results("metrics", GRAPH, "adapted.json"),
    log:
        logs("evaluate_adapted", GRAPH),
    benchmark:
        benchmarks("evaluate_adapted", GRAPH)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        **EVALUATION,
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} after surgery, FP32"
    shell:
        "python {input.step[0]:q} --detections {input.detections:q} --dataset {params.folder:q}"
        " --names {input.names:q} --resamples {params.resamples} --seed {params.seed}"
        " --oks-sigmas {params.oks_sigmas:q} --operating {params.operating}"
        " --metrics {output.metrics:q} --log {log:q}"


rule evaluate_int8:
    input:
        detections=rules.quantize.output.detections,
        baseline=rules.evaluate_exported.output.resampled,
        labels=rules.fetch_dataset.output.labels,
        names=rules.fetch_dataset.output.names,
        step=step("evaluate"),
    output:
        metrics=results("metrics", f"{VARIANT}.json"),
        resampled=results("metrics", f"{VARIANT}.npz"),
    log:
        logs("evaluate_int8", VARIANT),
    benchmark:
        benchmarks("evaluate_int8", VARIANT)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        **EVALUATION,
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} in INT8 ({wildcards.max_images} images)"
    shell:
        "python {input.step[0]:q} --detections {input.detections:q} --baseline {input.baseline:q}"
        " --dataset {params.folder:q} --names {input.names:q}"
        " --resamples {params.resamples} --seed {params.seed} --oks-sigmas {params.oks_sigmas:q}"
        " --operating {params.operating}"
        " --metrics {output.metrics:q} --resampled {output.resampled:q} --log {log:q}"
