"""The paths of a variant's files in the folder of a run, `results/{run}`."""

from collections.abc import Callable
from pathlib import Path

from lib.npu.build import Build
from lib.results.sweep import Variant
from lib.step.errors import UserError
from lib.step.files import require

EXPORTED, ADAPTED = "exported", "adapted"
_DEPTH = 4  # parts of a variant's path


def errors(run: Path) -> Path:
    """The recommended variant's errors in each image."""
    return run / "errors.json"


def onnx(run: Path, variant: Variant, stage: str) -> Path:
    """The ONNX of a stage: `exported`, `simplified`, or the name of a head."""
    return run / "onnx" / variant.model / variant.imgsz / f"{stage}.onnx"


def calibration(run: Path, variant: Variant) -> Path:
    """The list of the images that the variant is calibrated on."""
    return run / "calibration" / variant.imgsz / str(variant.max_images) / "images.txt"


def ranges(run: Path, variant: Variant) -> Path:
    """The ranges of the variant's graph on each image of the calibration pool."""
    return run / "calibration" / variant.imgsz / "ranges" / variant.model / f"{variant.head}.npz"


def rknn(run: Path, variant: Variant, name: str) -> Path:
    """A file of the build: `model.rknn`, `build.json`, or `verdict.json`, which is judged from it."""
    return run / "rknn" / variant.path() / name


def rknn_model(run: Path, variant: Variant) -> Path:
    """`model.rknn`. Raises UserError when it is missing or its size is not that in build.json (it has no checksum)."""
    path = require(rknn(run, variant, "model.rknn"), "model")
    built = Build.read(rknn(run, variant, "build.json")).rknn_bytes
    if path.stat().st_size != built:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes, but its build wrote {built}; delete it and run its step again"
        )
    return path


def detections(run: Path, variant: Variant) -> Path:
    """The detections of the variant's INT8 model."""
    return _beside(run / "detections", variant, ".npz")


def fp32_detections(run: Path, variant: Variant) -> Path:
    """The detections of the exported ONNX in FP32."""
    return run / "detections" / variant.model / variant.imgsz / f"{EXPORTED}.npz"


def metrics(run: Path, variant: Variant) -> Path:
    """Accuracy of the variant's INT8 model."""
    return _beside(run / "metrics", variant, ".json")


def exported_metrics(run: Path, variant: Variant) -> Path:
    """Accuracy of the exported ONNX in FP32."""
    return run / "metrics" / variant.model / variant.imgsz / f"{EXPORTED}.json"


def adapted_metrics(run: Path, variant: Variant) -> Path:
    """Accuracy of the ONNX after graph surgery, in FP32."""
    return run / "metrics" / variant.model / variant.imgsz / variant.head / f"{ADAPTED}.json"


def resampled(run: Path, variant: Variant) -> Path:
    """mAP50-95 of the variant's INT8 model in each resample of the images."""
    return _beside(run / "metrics", variant, ".npz")


def exported_resampled(run: Path, variant: Variant) -> Path:
    """mAP50-95 of the exported ONNX in each resample, in FP32."""
    return run / "metrics" / variant.model / variant.imgsz / f"{EXPORTED}.npz"


def board(run: Path, variant: Variant, name: str) -> Path:
    """The board's results for the variant: `board.json` and, unless it refused the model, `detections.npz`."""
    return run / "board" / variant.path() / name


def layers(run: Path, variant: Variant, suffix: str) -> Path:
    """The per-layer analysis: `.csv`, or `.png`."""
    return _beside(run / "layers", variant, suffix)


def is_by_variant(folder: Path, is_own: Callable[[Path], bool]) -> bool:
    """Whether each file in `folder` is in a variant's folder, MODEL/IMGSZ/HEAD/ALGORITHM-MAX_IMAGES, or is its zip.

    is_own: says whether a step made such a folder.
    """
    files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    files = [path for path in files if not path.name.startswith(".snakemake")]
    variants = {Path(*path.parts[:_DEPTH]) if path.suffix != ".zip" else path.with_suffix("") for path in files}
    return all(len(path.parts) == _DEPTH and is_own(folder / path) for path in variants)


def _beside(folder: Path, variant: Variant, suffix: str) -> Path:
    return (folder / variant.path()).with_suffix(suffix)
