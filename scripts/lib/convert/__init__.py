"""From one ONNX to its `.rknn` in one process: images, conversion, comparison, and the largest size that runs."""
