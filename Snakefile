# From YOLO weights to an INT8 .rknn for the RV1106, and a table of its accuracy and cost.

from pathlib import Path

# The working folder's own config, if it has one. rules/common.smk lays all configs over this workflow's config.yaml.
if Path("config/config.yaml").exists():

    configfile: "config/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/graph.smk"
include: "rules/quantize.smk"
include: "rules/evaluate.smk"
include: "rules/studies.smk"
include: "rules/report.smk"
include: "rules/bundle.smk"
include: "rules/board.smk"


onstart:
    keep_others_out()
    plan_without_timers(workflow)
    look_at_memory_less_often()
    BEGIN()


onsuccess:
    show_results()


onerror:
    show_failures()


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),
    imgsz=r"\d{2,4}(x\d{2,4})?",
    head="|".join(HEADS),
    algorithm="|".join(ALGORITHMS),
    max_images=r"\d{1,6}",
    seed=r"\d{1,9}",


# If a cluster runs the jobs, these run on the machine with network access.
localrules:
    download_weights,
    fetch_dataset,
    split_dataset,


rule all:
    default_target: True
    input:
        results("table.csv"),
        results("table.md"),
        results("plots/map_over_imgsz.png"),
        results("plots/map_over_max_images.png"),
        results("plots/pareto.png"),
        results("plots/class_changes.png"),
        results("plots/thresholds.png"),
        results("plots/detections.png"),
        LAYERS,
        results("report.html"),
        # The table is based on their builds; these files are what users take away.
        expand(rules.quantize.output.rknn, **config["sweep"]),
