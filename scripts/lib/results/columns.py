"""What each column of the comparison table means, in the table's order.

Apart from lib.results.table, which needs pandas, so that the documentation can be built without it.
"""

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

# Behind the others, where `snakemake board` ran at least one variant.
BOARD_COLUMNS = {
    "map50_95_board": "mAP50-95 of what the board found. Empty where no board ran the variant.",
    "ms_board": "Median time of `rknn_run` over the images, in ms.",
    "board": "`ran`, or the runtime's message where it refuses the model.",
    "verdict_was": "`right` or `wrong`; `undecided` for a verdict that was `unsure`.",
}
