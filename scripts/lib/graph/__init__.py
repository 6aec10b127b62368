"""ONNX in and out: export, files, sessions, conversion from Darknet, graph surgery."""
