"""ONNX models: export, files, sessions, conversion from Darknet, graph surgery."""
