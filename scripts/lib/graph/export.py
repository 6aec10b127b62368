"""From an Ultralytics checkpoint to ONNX. Ultralytics installs and downloads nothing while it does so."""

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

    end2end: "true" for the one-to-one head with the selection of its best predictions, [1, 300, 6]; "false" for all
    predictions of the one-to-many head, [1, 4+C, N]; AS_TRAINED for the first where the checkpoint has such a head.
    wanted: the task that the model must be for; any of lib.tasks without. Raises UserError when the checkpoint cannot
    be loaded, is for another task, or lacks the head that is asked for, and in a light environment.
    """
    refuse_foreign(weights)
    _prepare_ultralytics(scratch)
    from ultralytics import YOLO
    from ultralytics.nn.modules.head import Detect, WorldDetect

    copy = shutil.copyfile(weights, scratch / "model.pt")
    try:
        model = YOLO(copy)
        task = model.task
    except Exception as error:
        raise UserError(f"{weights} is no Ultralytics checkpoint ({type(error).__name__}: {error})") from error
    if task not in tasks.names():
        raise UserError(f"{weights} is a model for '{task}'; one for {', '.join(tasks.names())} is expected")
    demand_task(task, wanted, weights)
    head = model.model.model[-1]
    if not isinstance(head, Detect) or isinstance(head, WorldDetect):
        raise UserError(
            f"{weights} ends in {type(head).__name__}; YOLOv8, v9, v10, 11, 12, 26 and YOLOv5u are exported"
        )
    exported = model.export(
        format="onnx",
        imgsz=(size.height, size.width),
        opset=opset,
        simplify=False,
        device="cpu",
        # Ultralytics' way to ask for a head: False, no NMS, is the end-to-end one; None all predictions.
        nms=False if _is_end2end(weights, head, end2end) else None,
    )
    return Path(exported)


def demand_task(task: str, wanted: str | None, path: Path) -> None:
    """Raise UserError when the model of the file `path`, one for `task`, is not for the one that is wanted."""
    if wanted not in (None, task):
        raise UserError(f"{path} is a model for '{task}', and the task of this run is '{wanted}'; set task: {task}")


def refuse_foreign(weights: Path) -> None:
    """Raise UserError for a checkpoint of the YOLOv5 or YOLOv7 repository; nothing in it is run to see that."""
    if zipfile.is_zipfile(weights):
        with zipfile.ZipFile(weights) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    else:
        pickles = [weights.read_bytes()]
    # A pickle names a class by its module and its own name, a line each.
    if any(b"cmodels.yolo\n" in pickled for pickled in pickles):
        seven = any(re.search(rb"cmodels\.common\n(MP|SPPCSPC|RepConv)\n", pickled) for pickled in pickles)
        repository, options = ("YOLOv7", "--grid") if seven else ("YOLOv5", "--include onnx")
        raise UserError(
            f"{weights} is a checkpoint of the {repository} repository, which only its own code loads: export it there "
            f"(python export.py --weights {weights.name} {options} --img-size HEIGHT WIDTH) and give the ONNX as "
            "models.NAME.onnx in place of weights"
        )


def _prepare_ultralytics(folder: Path) -> None:
    """Keep Ultralytics, which is imported after this, from installing, downloading and writing outside `folder`.

    Raises UserError where it is not installed.
    """
    os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=str(folder))
    if importlib.util.find_spec("ultralytics") is None:
        raise UserError(
            "a checkpoint is exported by Ultralytics, which this light environment lacks; run `make setup` for the "
            "whole one, or convert a model that is exported already: python scripts/onnx_to_rknn.py MODEL.onnx"
        )


def _is_end2end(weights: Path, head, asked: str) -> bool:
    """Whether to export the one-to-one head of a checkpoint. Raises UserError when it lacks what is asked for."""
    # A checkpoint that was fused for inference has kept one of the two, under the name of the other.
    one_to_one, one_to_many = getattr(head, "one2one_cv2", None) is not None, head.cv2 is not None
    if asked == "true" and not one_to_one:
        raise UserError(f"{weights} has no one-to-one head; set export.end2end to false or to {AS_TRAINED}")
    if asked == "false" and not one_to_many:
        raise UserError(f"{weights} has nothing but a one-to-one head; set export.end2end to true or to {AS_TRAINED}")
    return one_to_one and asked != "false"


def random_weights(model: str, classes: int, seed: int, path: Path) -> Path:
    """Write a checkpoint of Ultralytics' `model` (a name as yolov8n.yaml) with random weights to `path`, and return it.

    Raises UserError when Ultralytics has no such description, and in a light environment.
    """
    _prepare_ultralytics(path.parent)
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(seed)
    try:
        detector = DetectionModel(model, nc=classes, verbose=False)
    except FileNotFoundError:
        raise UserError(f"Ultralytics has no model '{model}'; yolov8n.yaml is one it knows") from None
    torch.save({"model": detector.half(), "train_args": {}}, path)
    return path
