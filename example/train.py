"""Train the bundled example's detector from scratch, on nothing but images that this project draws.

Makes parts4.pt (FP16 weights, Ultralytics' format) and training.json (how it went) beside this script, from
settings.yaml. Needs no network. `--finalize CHECKPOINT …` makes the same two files from a training that was
cut short.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from pickle import UnpicklingError

import torch
import ultralytics
import yaml
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from draw_scenes import draw_dataset  # noqa: E402
from lib.data.imgsz import ImageSize, parse_imgsz  # noqa: E402
from lib.data.scenes import CLASSES  # noqa: E402
from lib.step.errors import UserError, run_step  # noqa: E402
from lib.step.files import sha256, whole, write_json  # noqa: E402

WEIGHTS = HERE / "parts4.pt"
RECORD = HERE / "training.json"


def draw_images(folder: Path, parts: dict) -> Path:
    """Draw the parts that are not there yet under `folder`; returns the data set's YAML file.

    parts: name of a part (train, val) to its number of `images` and its `seed`.
    """
    data = {"names": dict(enumerate(CLASSES))}
    for name, part in parts.items():
        output = folder / f"{name}-{part['seed']}-{part['images']}"
        if not output.exists():
            draw_dataset(output, part["images"], part["seed"], processes=os.cpu_count())
        data[name] = str((output / "images").resolve())
    description = folder / "data.yaml"
    description.write_text(yaml.safe_dump(data))
    return description


def train(settings: dict, data: Path, folder: Path, hours: float | None) -> list[Path]:
    """Train a new model round by round, each at most `hours` long where given.

    Returns each round's last checkpoint; a round starts from the weights of the one before it.
    """
    checkpoints = []
    for number, own in enumerate(settings["rounds"], start=1):
        overrides = settings["train"] | own | {"model": settings["model"], "data": str(data), "time": hours}
        overrides["pretrained"] = str(checkpoints[-1]) if checkpoints else False
        overrides |= {"project": str(folder.resolve()), "name": f"round{number}", "exist_ok": True}
        trainer = DetectionTrainer(overrides=overrides)
        trainer.add_callback("on_pretrain_routine_end", use_the_whole_cpu)
        trainer.train()
        checkpoints.append(trainer.last)
    return checkpoints


def use_the_whole_cpu(trainer) -> None:
    """Undo two of Ultralytics' choices that halve the speed on a CPU: an idle core, and the NCHW layout."""
    if trainer.device.type == "cpu":
        torch.set_num_threads(os.cpu_count())
        trainer.model.to(memory_format=torch.channels_last)


def read_checkpoint(path: Path) -> tuple[torch.nn.Module, dict]:
    """The model, with its EMA weights as FP16, and the epochs and minutes of the round that made `path`.

    Raises UserError when `path` is no checkpoint of the trainer.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=False)
        model = (state.get("ema") or state["model"]).half()
        results = state["train_results"]
        length = {"epochs": int(results["epoch"][-1]), "minutes": round(results["time"][-1] / 60, 1)}
    except (OSError, LookupError, AttributeError, RuntimeError, UnpicklingError) as error:
        raise UserError(f"{path} is no checkpoint of a training round: {error}") from None
    return model, length


def write_weights(model: torch.nn.Module, settings: dict) -> None:
    """Write WEIGHTS in Ultralytics' format, with nothing in it that tells of the machine or the hour."""
    model.criterion = None
    model.requires_grad_(False)
    neutral = {"task": "detect", "model": settings["model"], "imgsz": settings["train"]["imgsz"]}
    model.args = neutral
    with whole(WEIGHTS) as part, open(part, "wb") as file:
        torch.save({"model": model, "train_args": neutral, "version": ultralytics.__version__}, file)


class LetterboxValidator(DetectionValidator):
    """Ultralytics' validator at an input of exactly `size`; its own inputs are square or padded further."""

    size: ImageSize

    def build_dataset(self, img_path, mode="val", batch=None):
        """The validator's data set, its images scaled to fit in `size` and padded to it."""
        dataset = super().build_dataset(img_path, mode, batch)
        dataset.imgsz = self.size.height, self.size.width
        dataset.batch_shapes[:] = dataset.imgsz
        return dataset


def measure(data: Path, folder: Path, sizes: list) -> dict:
    """mAP of WEIGHTS on the validation images of `data`, in all and by class, at each size (`416x256`)."""
    measured = {}
    for text in sizes:
        size = parse_imgsz(text)
        metrics = YOLO(WEIGHTS).val(
            validator=type("Validator", (LetterboxValidator,), {"size": size}),
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
        classes = {name: metrics.box.maps[index] for index, name in enumerate(CLASSES)}
        measured[text] = {
            "map50_95": round(float(metrics.box.map), 4),
            "map50": round(float(metrics.box.map50), 4),
            "map50_95_by_class": {name: round(float(value), 4) for name, value in classes.items()},
        }
    return measured


def main(argv=None):
    """Train, or finalize, then measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--settings", type=Path, default=HERE / "settings.yaml", metavar="FILE")
    parser.add_argument("--work", type=Path, default=HERE / "work", metavar="DIR", help="images, checkpoints")
    parser.add_argument("--hours", type=float, help="a round's length; epochs and learning rate are fitted to it")
    parser.add_argument(
        "--finalize",
        type=Path,
        nargs="+",
        metavar="CHECKPOINT",
        help="each round's weights/last.pt; no training",
    )
    args = parser.parse_args(argv)

    settings = yaml.safe_load(args.settings.read_text())
    args.work.mkdir(parents=True, exist_ok=True)
    data = draw_images(args.work, settings["images"])
    checkpoints = args.finalize or train(settings, data, args.work, args.hours)
    models, rounds = zip(*map(read_checkpoint, checkpoints), strict=True)
    write_weights(models[-1], settings)
    record = {
        "weights": {"file": WEIGHTS.name, "sha256": sha256(WEIGHTS), "bytes": WEIGHTS.stat().st_size},
        "rounds": rounds,
        "images": settings["images"],
        "validation": measure(data, args.work, settings["measure"]),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "ultralytics": ultralytics.__version__,
        },
    }
    write_json(RECORD, record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    sys.exit(run_step(main))
