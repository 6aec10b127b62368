"""Train the bundled examples' models, only on images that this project draws.

Makes parts4.pt (FP16 weights, Ultralytics' format) and training.json (a record of the training) beside this script,
from settings.yaml; with --task pose, segment or obb, parts4-TASK.pt and training-TASK.json, from settings_tasks.yaml.
Needs no network. `--finalize CHECKPOINT …` makes the same two files from an interrupted training.
"""

import argparse
import functools
import json
import os
import platform
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import cv2
import numpy as np
import torch
import ultralytics
import yaml
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.models.yolo.obb import OBBTrainer, OBBValidator
from ultralytics.models.yolo.pose import PoseTrainer, PoseValidator
from ultralytics.models.yolo.segment import SegmentationTrainer, SegmentationValidator

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from draw_scenes import draw_dataset  # noqa: E402
from lib.data.imgsz import ImageSize, parse_imgsz  # noqa: E402
from lib.data.scenes import CLASSES, describe  # noqa: E402
from lib.step.errors import UserError, run_step  # noqa: E402
from lib.step.files import sha256, whole, write_json  # noqa: E402


class TaskTools(NamedTuple):
    """Ultralytics' tools for a task.

    trainer, validator: classes. metric: the attribute of the validator's metrics that uses the task's own overlap.
    """

    trainer: type
    validator: type
    metric: str


TASKS = {
    "detect": TaskTools(DetectionTrainer, DetectionValidator, "box"),
    "pose": TaskTools(PoseTrainer, PoseValidator, "pose"),
    "segment": TaskTools(SegmentationTrainer, SegmentationValidator, "seg"),
    "obb": TaskTools(OBBTrainer, OBBValidator, "box"),
}


def read_settings(path: Path, task: str) -> dict:
    """The settings for `task`: those of the whole file, overridden by the task's own (in `tasks`).

    Raises UserError when the file has none for it.
    """
    settings = yaml.safe_load(path.read_text())
    tasks = settings.pop("tasks", {"detect": {}})
    if task not in tasks:
        raise UserError(f"{path} has no settings for {task}, only for {', '.join(tasks)}")
    return settings | tasks[task]


def draw_images(folder: Path, parts: dict, task: str) -> Path:
    """Draw the parts that do not exist yet below `folder`; return the data set's YAML file.

    parts: from the name of a part (train, val) to its number of `images` and its `seed`.
    """
    data = describe(task)
    for name, part in parts.items():
        output = folder / f"{task}-{name}-{part['seed']}-{part['images']}"
        if not output.exists():
            draw_dataset(output, part["images"], part["seed"], processes=os.cpu_count(), task=task)
        data[name] = str((output / "images").resolve())
    description = folder / f"{task}-data.yaml"
    description.write_text(yaml.safe_dump(data))
    return description


def write_architecture(settings: dict, folder: Path) -> str:
    """The model's YAML file: Ultralytics' own, or the one beside this script with the task's last `layer` inserted.

    The latter is written under `folder`.
    """
    if "layer" not in settings:
        return settings["model"]
    architecture = yaml.safe_load((HERE / settings["model"]).read_text())
    architecture["head"][-1][2:] = settings["layer"]
    path = folder / f"{settings['layer'][0].lower()}-model.yaml"
    path.write_text(yaml.safe_dump(architecture))
    return str(path)


def train(settings: dict, task: str, data: Path, folder: Path, hours: float | None, threads: int) -> list[Path]:
    """Train a new model round by round, each at most `hours` long if given.

    Returns each round's last checkpoint; a round starts from the weights of the previous one.
    """
    checkpoints = []
    start = str(HERE / settings["start"]) if "start" in settings else False
    model = write_architecture(settings, folder)
    for number, own in enumerate(settings["rounds"], start=1):
        overrides = settings["train"] | own | {"model": model, "data": str(data), "time": hours, "task": task}
        overrides["pretrained"] = str(checkpoints[-1]) if checkpoints else start
        overrides |= {"project": str(folder.resolve()), "name": f"{task}-round{number}", "exist_ok": True}
        trainer = TASKS[task].trainer(overrides=overrides)
        trainer.add_callback("on_pretrain_routine_end", functools.partial(use_the_cpu, threads))
        trainer.train()
        checkpoints.append(trainer.last)
    return checkpoints


def use_the_cpu(threads: int, trainer) -> None:
    """Undo two of Ultralytics' choices that halve the speed on a CPU: an idle core, and the NCHW layout."""
    if trainer.device.type == "cpu":
        torch.set_num_threads(threads)
        trainer.model.to(memory_format=torch.channels_last)


def read_checkpoint(path: Path) -> tuple[torch.nn.Module, dict]:
    """The model, with its EMA weights as FP16, and the epochs and minutes of the round that made `path`.

    Raises UserError when `path` is not a checkpoint of the trainer.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=False)
        model = (state.get("ema") or state["model"]).half()
        results = state["train_results"]
        length = {"epochs": int(results["epoch"][-1]), "minutes": round(results["time"][-1] / 60, 1)}
    except (OSError, LookupError, AttributeError, RuntimeError, UnpicklingError) as error:
        raise UserError(f"{path} is not a checkpoint of a training round: {error}") from None
    return model, length


def write_weights(path: Path, model: torch.nn.Module, task: str, settings: dict) -> None:
    """Write the file `path` in Ultralytics' format, without anything about the machine or the time."""
    model.criterion = None
    model.requires_grad_(False)
    model.yaml["yaml_file"] = settings["model"]
    neutral = {"task": task, "model": settings["model"], "imgsz": settings["train"]["imgsz"]}
    model.args = neutral
    with whole(path) as part, open(part, "wb") as file:
        torch.save({"model": model, "train_args": neutral, "version": ultralytics.__version__}, file)


def letterbox_validator(validator: type, size: ImageSize) -> type:
    """Ultralytics' `validator` at an input of exactly `size`; its own inputs are square or padded further."""

    class LetterboxValidator(validator):
        def build_dataset(self, img_path, mode="val", batch=None):
            """The validator's data set, with images scaled to fit in `size` and padded to it."""
            dataset = super().build_dataset(img_path, mode, batch)
            dataset.imgsz = size.height, size.width
            dataset.batch_shapes[:] = dataset.imgsz
            return dataset

    return LetterboxValidator


def measure(weights: Path, task: str, data: Path, folder: Path, sizes: list) -> dict:
    """mAP of `weights` on the validation images of `data`, overall and per class, at each size (`416x256`)."""
    measured = {}
    for text in sizes:
        size = parse_imgsz(text)
        metrics = YOLO(weights).val(
            validator=letterbox_validator(TASKS[task].validator, size),
            data=str(data),
            imgsz=max(size),
            rect=True,
            batch=16,
            workers=0,
            plots=False,
            verbose=False,
            project=str(folder.resolve()),
            name="val",
            exist_ok=True,
        )
        own = getattr(metrics, TASKS[task].metric)
        classes = {name: own.maps[index] for index, name in enumerate(CLASSES)}
        measured[text] = {
            "map50_95": round(float(own.map), 4),
            "map50": round(float(own.map50), 4),
            "map50_95_by_class": {name: round(float(value), 4) for name, value in classes.items()},
        }
        if own is not metrics.box:
            measured[text]["box_map50_95"] = round(float(metrics.box.map), 4)
    return measured


def main(argv=None):
    """Train, or finalize, then measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="detect", help="(default: %(default)s)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="(default: the task's, beside this script)")
    parser.add_argument("--work", type=Path, default=HERE / "work", metavar="DIR", help="images, checkpoints")
    parser.add_argument("--hours", type=float, help="a round's length; epochs and learning rate are fitted to it")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="CPU threads (default: all)")
    parser.add_argument(
        "--finalize",
        type=Path,
        nargs="+",
        metavar="CHECKPOINT",
        help="each round's weights/last.pt; no training",
    )
    args = parser.parse_args(argv)

    # The detector came first; its files have no task in their names.
    ending, default = ("", "settings.yaml") if args.task == "detect" else (f"-{args.task}", "settings_tasks.yaml")
    weights = HERE / f"parts4{ending}.pt"
    settings = read_settings(args.settings or HERE / default, args.task)
    args.work.mkdir(parents=True, exist_ok=True)
    data = draw_images(args.work, settings["images"], args.task)
    checkpoints = args.finalize or train(settings, args.task, data, args.work, args.hours, args.threads)
    models, rounds = zip(*map(read_checkpoint, checkpoints), strict=True)
    write_weights(weights, models[-1], args.task, settings)
    record = {
        "weights": {"file": weights.name, "sha256": sha256(weights), "bytes": weights.stat().st_size},
        "rounds": rounds,
        "images": settings["images"],
        "validation": measure(weights, args.task, data, args.work, settings["measure"]),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "ultralytics": ultralytics.__version__,
        },
    }
    if "start" in settings:
        record["start"] = {"file": settings["start"], "sha256": sha256(HERE / settings["start"])}
    write_json(HERE / f"training{ending}.json", record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    sys.exit(run_step(main))
