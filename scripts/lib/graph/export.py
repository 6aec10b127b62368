"""Exports an Ultralytics checkpoint to ONNX, and keeps Ultralytics from installing or downloading anything."""

import importlib.util
import os
import re
import shutil
import zipfile
from pathlib import Path

from lib import tasks
from lib.data.imgsz import ImageSize
from lib.step.errors import UserError

AS_TRAINED = "checkpoint"
END2END = (AS_TRAINED, "true", "false")


def export(
    weights: Path, size: ImageSize, opset: int, scratch: Path, end2end: str = AS_TRAINED, wanted: str | None = None
) -> Path:
    """Let Ultralytics export a copy of `weights` inside `scratch`; returns the ONNX file there.

    end2end: "true" for the best predictions of the one-to-one head, [1, 300, 6]; "false" for all predictions of the
    one-to-many head, [1, 4+C, N]; AS_TRAINED for "true" if the checkpoint has a one-to-one head, else "false".
    wanted: the task that the model must be for; None allows any of lib.tasks. Raises UserError when the checkpoint
    cannot be loaded, is for another task, or lacks that head, and in a light environment.
    """
    refuse_foreign(weights)
    _prepare_ultralytics(scratch)
    from ultralytics import YOLO
    from ultralytics.nn.modules.head import Classify, Detect, WorldDetect

    copy = shutil.copyfile(weights, scratch / "model.pt")
    try:
        model = YOLO(copy)
        task = model.task
    except Exception as error:
        raise UserError(f"{weights} is not an Ultralytics checkpoint ({type(error).__name__}: {error})") from error
    if task not in tasks.names():
        raise UserError(f"{weights} is a model for '{task}'; one for {', '.join(tasks.names())} is expected")
    demand_task(task, wanted, weights)
    head = model.model.model[-1]
    is_classifier = isinstance(head, Classify)
    if isinstance(head, WorldDetect) or not isinstance(head, Detect | Classify):
        raise UserError(
            f"{weights} ends in {type(head).__name__}; only YOLOv8, v9, v10, 11, 12, 26 and YOLOv5u can be exported"
        )
    exported = model.export(
        format="onnx",
        imgsz=(size.height, size.width),
        opset=opset,
        simplify=False,
        device="cpu",
        # Ultralytics' option for the head: False, without NMS, is the end-to-end one; None gives all predictions.
        nms=False if not is_classifier and _is_end2end(weights, head, end2end) else None,
    )
    return Path(exported)


def demand_task(task: str, wanted: str | None, path: Path) -> None:
    """Raise UserError when the model in the file `path`, which is for `task`, is not for the wanted task."""
    if wanted not in (None, task):
        raise UserError(f"{path} is a model for '{task}', but the task of this run is '{wanted}'; set task: {task}")


def refuse_foreign(weights: Path) -> None:
    """Raise UserError for a checkpoint of the YOLOv5 or YOLOv7 repository, without running any code in it."""
    if zipfile.is_zipfile(weights):
        with zipfile.ZipFile(weights) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    else:
        pickles = [weights.read_bytes()]
    # A pickle names a class by its module and its own name, one per line.
    if any(b"cmodels.yolo\n" in pickled for pickled in pickles):
        seven = any(re.search(rb"cmodels\.common\n(MP|SPPCSPC|RepConv)\n", pickled) for pickled in pickles)
        repository, options = ("YOLOv7", "--grid") if seven else ("YOLOv5", "--include onnx")
        raise UserError(
            f"{weights} is a checkpoint of the {repository} repository, which only code from there can load: export it "
            f"there (python export.py --weights {weights.name} {options} --img-size HEIGHT WIDTH) and give the ONNX as "
            "models.NAME.onnx in place of weights"
        )


def _prepare_ultralytics(folder: Path) -> None:
    """Keep Ultralytics, which must be imported after this, from installing, downloading and writing outside `folder`.

    Raises UserError when it is not installed.
    """
    os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=str(folder))
    if importlib.util.find_spec("ultralytics") is None:
        raise UserError(
            "exporting a checkpoint needs Ultralytics, which this light environment lacks; run `make setup` for the "
            "full one, or convert a model that is already exported: python scripts/onnx_to_rknn.py MODEL.onnx"
        )


def _is_end2end(weights: Path, head, wanted: str) -> bool:
    """Whether to export the one-to-one head of a checkpoint. Raises UserError when the wanted head is missing."""
    # A checkpoint that was fused for inference has only one of the two heads, under the other's name.
    one_to_one, one_to_many = getattr(head, "one2one_cv2", None) is not None, head.cv2 is not None
    if wanted == "true" and not one_to_one:
        raise UserError(f"{weights} has no one-to-one head; set export.end2end to false or to {AS_TRAINED}")
    if wanted == "false" and not one_to_many:
        raise UserError(f"{weights} has only a one-to-one head; set export.end2end to true or to {AS_TRAINED}")
    return one_to_one and wanted != "false"


def random_weights(model: str, classes: int, seed: int, path: Path) -> Path:
    """Write a checkpoint of Ultralytics' `model` (such as yolov8n.yaml) with random weights to `path`; return `path`.

    Raises UserError when Ultralytics has no such description, and in a light environment.
    """
    if Path(model).suffix not in (".yaml", ".yml"):
        raise UserError(f"'{model}' is not the name of a model description, such as yolov8n.yaml")
    _prepare_ultralytics(path.parent)
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(seed)
    try:
        detector = DetectionModel(model, nc=classes, verbose=False)
    except FileNotFoundError:
        raise UserError(f"Ultralytics has no model '{model}'; an example that it has is yolov8n.yaml") from None
    torch.save({"model": detector.half(), "train_args": {}}, path)
    return path
