"""Converts Darknet detectors (.cfg and .weights) to ONNX: description, layers, weights.

`cfg` reads sections, `network` turns them into `layers` with shapes, `weights` reads the weights and folds batch
normalization in, `convert` writes the ONNX. Its outputs are decoded by lib.detector.families.anchors.
"""
