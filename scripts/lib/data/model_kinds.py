"""Model files of other programs, which are not read: recognized, so that a refusal says what a file is."""

from pathlib import Path

# By where they begin in a file, and the bytes there.
_CONTENTS = {
    (0, b"PK\x03\x04"): "a checkpoint of PyTorch or another zip",
    (0, b"\x80\x02"): "a checkpoint of PyTorch",
    (0, b"RKNN"): "a .rknn",
    (4, b"TFL3"): "a TFLite model",
    (0, b"\x89HDF"): "a Keras model",
    (0, b"7767517"): "a model of ncnn",
    (0, b"<?xml"): "an XML file, such as a model of OpenVINO",
    (0, b"<!DOCTYPE"): "a web page",
    (0, b"<html"): "a web page",
}
_SUFFIXES = {
    ".tflite": "a TFLite model",
    ".engine": "a TensorRT engine",
    ".trt": "a TensorRT engine",
    ".plan": "a TensorRT engine",
    ".mlmodel": "a Core ML model",
    ".mlpackage": "a Core ML model",
    ".torchscript": "a TorchScript model",
    ".pb": "a TensorFlow model",
    ".h5": "a Keras model",
    ".keras": "a Keras model",
    ".param": "a model of ncnn",
    ".pth": "a checkpoint that only its own program can load",
    ".rknn": "a .rknn",
}
SUFFIXES = tuple(_SUFFIXES)


def kind_of(path: Path) -> str:
    """What a model file is, such as `a TFLite model`; empty for an ONNX, and for what is not known."""
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if path.is_dir():
        return "a folder"
    with open(path, "rb") as file:
        start = file.read(16)
    return next((kind for (at, content), kind in _CONTENTS.items() if start[at:].startswith(content)), "")


def instead_of(path: Path) -> str:
    """What to do about a model file that is no ONNX."""
    if kind_of(path) == "a .rknn":
        return f"to see what it holds: python scripts/inspect_rknn.py {path}"
    return "export the model to ONNX, or name its checkpoint: python scripts/start.py best.pt data.yaml"
