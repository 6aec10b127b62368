"""Darknet detectors (.cfg and .weights) as ONNX: description, weights, layers, and the maths of [yolo].

`cfg` reads sections, `network` turns them into layers with shapes, `weights` reads and folds their numbers, `convert`
writes the ONNX, `yolo` holds what is needed to decode its outputs.
"""
