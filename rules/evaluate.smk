# mAP of the exported ONNX, of the ONNX after surgery, and of the INT8 model on the simulator: one code, one data set.

EVALUATION = {
    "images": config["evaluation"]["images"],
    "names": config["dataset"]["names"],
    "folder": lambda w, input: str(Path(input.split).parent),
}


rule evaluate_exported:
    input:
        model=rules.export_onnx.output.model,
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        step=step("evaluate"),
    output:
        metrics=results("metrics/{model}/{imgsz}/exported.json"),
    log:
        results("logs/evaluate_exported/{model}/{imgsz}.log"),
    benchmark:
        results("benchmarks/evaluate_exported/{model}/{imgsz}.tsv")
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: 500 + 500 * threads,
    params:
        **EVALUATION,
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} as exported, FP32"
    shell:
        "python scripts/evaluate.py --onnx {input.model:q} --head exported --imgsz {wildcards.imgsz}"
        " --dataset {params.folder:q} --split {input.split:q} --images {params.images}"
        " --names {params.names:q} --threads {threads} --output {output.metrics:q} --log {log:q}"


rule evaluate_adapted:
    input:
        model=rules.graph_surgery.output.model,
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        step=step("evaluate"),
    output:
        metrics=results("metrics/{model}/{imgsz}/{head}/adapted.json"),
    log:
        results("logs/evaluate_adapted/{model}/{imgsz}/{head}.log"),
    benchmark:
        results("benchmarks/evaluate_adapted/{model}/{imgsz}/{head}.tsv")
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: 500 + 500 * threads,
    params:
        **EVALUATION,
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} after surgery, FP32"
    shell:
        "python scripts/evaluate.py --onnx {input.model:q} --head {wildcards.head} --imgsz {wildcards.imgsz}"
        " --dataset {params.folder:q} --split {input.split:q} --images {params.images}"
        " --names {params.names:q} --threads {threads} --output {output.metrics:q} --log {log:q}"


rule evaluate_int8:
    input:
        calibrated=rules.calibrate.output.calibrated,
        images=rules.fetch_dataset.output.images,
        labels=rules.fetch_dataset.output.labels,
        split=rules.split_dataset.output.split,
        step=step("evaluate"),
    output:
        metrics=results("metrics/{model}/{imgsz}/{head}/{algorithm}-{max_images}.json"),
    log:
        results("logs/evaluate_int8/{model}/{imgsz}/{head}/{algorithm}-{max_images}.log"),
    benchmark:
        results("benchmarks/evaluate_int8/{model}/{imgsz}/{head}/{algorithm}-{max_images}.tsv")
    conda:
        ENVIRONMENT
    threads: cores_a_variant
    resources:
        mem_mb=lambda w, threads: 1200 + 650 * threads,
    params:
        **EVALUATION,
        platform=config["platform"],
    message:
        "Evaluate {wildcards.model} {wildcards.imgsz} {wildcards.head} in INT8 on the simulator ({wildcards.max_images} images)"
    shell:
        "python scripts/evaluate.py --calibrated {input.calibrated:q} --head {wildcards.head}"
        " --imgsz {wildcards.imgsz} --platform {params.platform} --algorithm {wildcards.algorithm}"
        " --dataset {params.folder:q} --split {input.split:q} --images {params.images}"
        " --names {params.names:q} --threads {threads} --output {output.metrics:q} --log {log:q}"
