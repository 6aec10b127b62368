# Weights, drawn images, data set, split.


rule download_weights:
    input:
        local=lambda w: local_files(model_sources(config["models"][w.model]), results("drawn")),
        step=step("download_weights"),
    output:
        weights=directory(results("weights/{model}")),
    log:
        logs("download_weights", "{model}"),
    benchmark:
        benchmarks("download_weights", "{model}")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=200,
        runtime=30,
    params:
        options=lambda w: options(config["models"][w.model]),
    message:
        "Download the weights of {wildcards.model}"
    shell:
        "python {input.step[0]:q} {params.options:q} --output {output.weights:q} --log {log:q}"


rule draw_scenes:
    input:
        step=step("draw_scenes"),
    output:
        drawn=directory(results("drawn")),
    log:
        logs("draw_scenes"),
    benchmark:
        benchmarks("draw_scenes")
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=300,
        runtime=60,
    params:
        images=config["draw"]["images"],
        seed=config["draw"]["seed"],
        task=config["task"],
    message:
        "Draw {params.images} images"
    shell:
        "python {input.step[0]:q} --count {params.images} --seed {params.seed} --task {params.task}"
        " --processes {threads} --output {output.drawn:q} --log {log:q}"


rule fetch_dataset:
    input:
        local=local_files(dataset_sources(config["dataset"]), results("drawn")),
        step=step("fetch_dataset"),
    output:
        images=directory(results("dataset/images")),
        labels=directory(results("dataset/labels")),
        names=results("dataset/names.txt"),
        parts=results("dataset/parts.csv"),
    log:
        logs("fetch_dataset"),
    benchmark:
        benchmarks("fetch_dataset")
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=500,
        runtime=60,
    params:
        dataset=options({key: value for key, value in config["dataset"].items() if key != "name"}),
        # Only for data sets that may have parts; otherwise a change of these values would needlessly fetch the data set again.
        drawn=(
            options(config["split"]) + ["--part", config["evaluation"]["part"]]
            if has_parts(config["dataset"])
            else []
        ),
        task=config["task"],
        files=DATASET_FILES,  # not in the command, but a change must rerun it: the time of a folder does not show changes inside
        folder=lambda w, output: str(Path(output.images).parent),
    message:
        "Fetch the data set"
    shell:
        "python {input.step[0]:q} {params.dataset:q} {params.drawn:q} --task {params.task}"
        " --threads {threads} --output {params.folder:q} --log {log:q}"


rule split_dataset:
    input:
        images=rules.fetch_dataset.output.images,
        parts=rules.fetch_dataset.output.parts,
        step=step("split_dataset"),
    output:
        split=results("dataset/split.csv"),
    log:
        logs("split_dataset"),
    benchmark:
        benchmarks("split_dataset")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=200,
        runtime=5,
    params:
        folder=lambda w, input: str(Path(input.images).parent),
        calibration=config["split"]["calibration"],
        seed=config["split"]["seed"],
    message:
        "Split data set"
    shell:
        "python {input.step[0]:q} --dataset {params.folder:q} --calibration {params.calibration}"
        " --seed {params.seed} --output {output.split:q} --log {log:q}"
