"""Darknet detectors (.cfg and .weights) as ONNX: description, layers, weights.

`cfg` reads sections, `network` turns them into `layers` with shapes, `weights` reads and folds their numbers, `convert`
writes the ONNX. What decoding its outputs needs is in lib.detector.families.anchors.
"""
