"""What each column of a run's tables means, in the tables' order.

Apart from the modules that fill them, which need pandas, so that the documentation can be built without it.
"""

# table.csv, by lib.results.table.
COLUMNS = {
    "model": "Name of the model under `models` in the config.",
    "imgsz": "Input size in pixels, `WIDTHxHEIGHT`, or one number for a square.",
    "head": "Output head, `single` or `split`.",
    "algorithm": "The toolkit's quantization algorithm.",
    "max_images": "Images in the calibration set.",
    "map50_95_fp32": "mAP50-95 (0 to 1) of the FP32 baseline: the ONNX as exported, run by onnxruntime.",
    "map50_fp32": "mAP50 (0 to 1) of the FP32 baseline.",
    "map50_95_adapted": "mAP50-95 in FP32 after graph surgery. It must be that of the FP32 baseline.",
    "map50_95_int8": "mAP50-95 of the INT8 model on the toolkit's simulator.",
    "map50_int8": "mAP50 of the INT8 model on the toolkit's simulator.",
    "retention": "map50_95_int8 / map50_95_fp32. Empty where the FP32 baseline finds nothing.",
    "rknn_mb": "Size of the `.rknn` file in MB of 10^6 bytes.",
    "npu_mcycles": "NPU cycles of one inference in millions, as the toolkit counts them (convolutions alone).",
    "internal_kb": "Memory for tensors between operators, in KB of 1024 bytes.",
    "weight_kb": "Memory for weights, in KB of 1024 bytes.",
    "cpu_ops": "Operators on the CPU, input and output left out. The board refuses nearly all of them.",
    "verdict": "`runs`, `fails` or `unsure`: whether the board will run the model.",
    "retention_low": "Lower limit of the 95 % interval of the retention.",
    "retention_high": "Upper limit of the 95 % interval of the retention.",
    "ms_low": "Lower limit of the estimated time of one inference, in ms.",
    "ms_high": "Upper limit of the estimated time of one inference, in ms.",
}

# Behind these, where `snakemake board` ran at least one variant.
BOARD_COLUMNS = {
    "map50_95_board": "mAP50-95 of what the board found. Empty where no board ran the variant.",
    "ms_board": "Median time of `rknn_run` over the images, in ms.",
    "board": "`ran`, or the runtime's message where it refuses the model.",
    "verdict_was": "`right` or `wrong`; `undecided` for a verdict that was `unsure`.",
}

# layers/….csv, by lib.npu.layer_errors.
LAYER_COLUMNS = {
    "layer": "Name of the tensor that the layer gives.",
    "type": "Operator of the layer.",
    "entire_cos": "Cosine between the FP32 and the INT8 output, all layers before it in INT8 too. 1 is best.",
    "entire_euc": "Euclidean distance of the same two outputs.",
    "single_cos": "Cosine with this layer alone in INT8. It tells where an error begins.",
    "single_euc": "Euclidean distance with this layer alone in INT8.",
}

# calibration_study.csv, by scripts/calibration_study.py: a row a draw.
STUDY_COLUMNS = {
    "max_images": "Images in the calibration set.",
    "seed": "Seed of the draw.",
    "map50_95_int8": "mAP50-95 of the INT8 model on the toolkit's simulator.",
}

# frontier.csv, by scripts/frontier.py: a row a kind of model.
FRONTIER_COLUMNS = {
    "classes": "Number of classes.",
    "shape": "Proportions of the input, WIDTH:HEIGHT.",
    "head": "Output head, `single` or `split`.",
    "largest": "Largest input size found with the verdict `runs`. Empty where there is none.",
    "npu_mcycles": "NPU cycles at that size, in millions.",
    "ms_low": "Lower limit of the estimated time at that size, in ms.",
    "ms_high": "Upper limit of the estimated time at that size, in ms.",
    "internal_kb": "Memory for tensors between operators at that size, in KB of 1024 bytes.",
    "weight_kb": "Memory for weights at that size, in KB of 1024 bytes.",
    "rknn_mb": "Size of the `.rknn` file at that size, in MB of 10^6 bytes.",
    "unsure": "Sizes on the way whose verdict is `unsure`. There may be others.",
    "next": "The size after the largest.",
    "next_verdict": "Its verdict.",
    "reason": "Why it does not run. Not in frontier.md.",
}
