# What each ONNX detects in FP32, and mAP from detections alone: as exported, after surgery, in INT8.


rule detect_exported:
    input:
        model=rules.export_onnx.output.model,
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        step=step("detect"),
    output:
        detections=results("detections/{model}/{imgsz}/exported.npz"),
    log:
        results("logs/detect_exported/{model}/{imgsz}.log"),
    benchmark:
        results("benchmarks/detect_exported/{model}/{imgsz}.tsv")
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: 300 + 400 * threads,
        runtime=60,
    params:
        **DETECTION,
    message:
        "Detect with {wildcards.model} {wildcards.imgsz} as exported, FP32"
    shell:
        "python {input.step[0]:q} --model {input.model:q} --dataset {params.folder:q} --images {params.images}"
        " --names {params.names:q} --threads {threads} --detections {output.detections:q} --log {log:q}"


use rule detect_exported as detect_adapted with:
    input:
        model=rules.graph_surgery.output.model,
        images=rules.fetch_dataset.output.images,
        split=rules.split_dataset.output.split,
        step=step("detect"),
    output:
        detections=results("detections/{model}/{imgsz}/{head}/adapted.npz"),
    log:
        results("logs/detect_adapted/{model}/{imgsz}/{head}.log"),
    benchmark:
        results("benchmarks/detect_adapted/{model}/{imgsz}/{head}.tsv")
    message:
        "Detect with {wildcards.model} {wildcards.imgsz} {wildcards.head} after surgery, FP32"


rule evaluate_exported:
    input:
        detections=rules.detect_exported.output.detections,
        labels=rules.fetch_dataset.output.labels,
        step=step("evaluate"),
    output:
        metrics=results("metrics/{model}/{imgsz}/exported.json"),
        resampled=results("metrics/{model}/{imgsz}/exported.npz"),
    log:
        results("logs/evaluate_exported/{model}/{imgsz}.log"),
    benchmark:
        results("benchmarks/evaluate_exported/{model}/{imgsz}.tsv")
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
        " --names {params.names:q} --resamples {params.resamples} --seed {params.seed}"
        " --metrics {output.metrics:q} --resampled {output.resampled:q} --log {log:q}"


rule evaluate_adapted:
    input:
        detections=rules.detect_adapted.output.detections,
        labels=rules.fetch_dataset.output.labels,
        step=step("evaluate"),
    output:
        metrics=results("metrics/{model}/{imgsz}/{head}/adapted.json"),
    log:
        results("logs/evaluate_adapted/{model}/{imgsz}/{head}.log"),
    benchmark:
        results("benchmarks/evaluate_adapted/{model}/{imgsz}/{head}.tsv")
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
        " --names {params.names:q} --resamples {params.resamples} --seed {params.seed}"
        " --metrics {output.metrics:q} --log {log:q}"


rule evaluate_int8:
    input:
        detections=rules.quantize.output.detections,
        baseline=rules.evaluate_exported.output.resampled,
        labels=rules.fetch_dataset.output.labels,
        step=step("evaluate"),
    output:
        metrics=results("metrics/{model}/{imgsz}/{head}/{algorithm}-{max_images}.json"),
        resampled=results("metrics/{model}/{imgsz}/{head}/{algorithm}-{max_images}.npz"),
    log:
        results("logs/evaluate_int8/{model}/{imgsz}/{head}/{algorithm}-{max_images}.log"),
    benchmark:
        results("benchmarks/evaluate_int8/{model}/{imgsz}/{head}/{algorithm}-{max_images}.tsv")
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
        " --dataset {params.folder:q} --names {params.names:q}"
        " --resamples {params.resamples} --seed {params.seed}"
        " --metrics {output.metrics:q} --resampled {output.resampled:q} --log {log:q}"
