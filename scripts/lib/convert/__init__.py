"""Converts one ONNX to a `.rknn` in one process: images, conversion, comparison, and the largest size that runs."""
