"""From an Ultralytics checkpoint to ONNX. Ultralytics installs and downloads nothing while it does so."""

import os
import shutil
from pathlib import Path

from lib.data.imgsz import ImageSize
from lib.step.errors import UserError


def export(weights: Path, size: ImageSize, opset: int, scratch: Path) -> Path:
    """Let Ultralytics export a copy of `weights` inside `scratch`; returns the ONNX file there.

    Raises UserError when the checkpoint cannot be loaded or is no detector.
    """
    os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=str(scratch))
    # Imported after the environment is set: it reads both at import.
    from ultralytics import YOLO

    copy = shutil.copyfile(weights, scratch / "model.pt")
    try:
        model = YOLO(copy, task="detect")
        task = model.task
    except Exception as error:
        raise UserError(f"{weights} is no Ultralytics checkpoint ({type(error).__name__}: {error})") from error
    if task != "detect":
        raise UserError(f"{weights} is a model for '{task}'; a detector is expected")
    return Path(model.export(format="onnx", imgsz=(size.height, size.width), opset=opset, simplify=False, device="cpu"))


def random_weights(model: str, classes: int, seed: int, path: Path) -> Path:
    """Write a checkpoint of Ultralytics' `model` (a name as yolov8n.yaml) with random weights to `path`, and return it.

    Raises UserError when Ultralytics brings no such description.
    """
    os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=str(path.parent))
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(seed)
    try:
        detector = DetectionModel(model, nc=classes, verbose=False)
    except FileNotFoundError:
        raise UserError(f"Ultralytics brings no model '{model}'; yolov8n.yaml is one it knows") from None
    torch.save({"model": detector.half(), "train_args": {}}, path)
    return path
