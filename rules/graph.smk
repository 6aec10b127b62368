# From weights to an ONNX whose outputs the NPU can represent; every stage's ONNX is kept.


rule export_onnx:
    input:
        weights=rules.download_weights.output.weights,
        step=step("export_onnx"),
    output:
        model=results("onnx", SIZE, "exported.onnx"),
    log:
        logs("export_onnx", SIZE),
    benchmark:
        benchmarks("export_onnx", SIZE)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        opset=config["export"]["opset"],
        end2end=str(config["export"]["end2end"]).lower(),
        task=config["task"],
    message:
        "Export {wildcards.model} at {wildcards.imgsz}"
    shell:
        "python {input.step[0]:q} --weights {input.weights:q} --imgsz {wildcards.imgsz}"
        " --opset {params.opset} --end2end {params.end2end} --task {params.task} --output {output.model:q} --log {log:q}"


rule simplify_onnx:
    input:
        model=rules.export_onnx.output.model,
        images=results("calibration/{imgsz}/letterboxed"),
        step=step("simplify_onnx"),
    output:
        model=results("onnx", SIZE, "simplified.onnx"),
    log:
        logs("simplify_onnx", SIZE),
    benchmark:
        benchmarks("simplify_onnx", SIZE)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Simplify {wildcards.model} at {wildcards.imgsz}"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --images {input.images:q}"
        " --output {output.model:q} --log {log:q}"


rule graph_surgery:
    input:
        model=rules.simplify_onnx.output.model,
        images=results("calibration/{imgsz}/letterboxed"),
        step=step("graph_surgery"),
    output:
        model=results("onnx", f"{GRAPH}.onnx"),
        proof=results("onnx", f"{GRAPH}.json"),
    log:
        logs("graph_surgery", GRAPH),
    benchmark:
        benchmarks("graph_surgery", GRAPH)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Give {wildcards.model} at {wildcards.imgsz} the head '{wildcards.head}'"
    shell:
        "python {input.step[0]:q} --onnx {input.model:q} --head {wildcards.head}"
        " --images {input.images:q} --output {output.model:q} --proof {output.proof:q} --log {log:q}"
