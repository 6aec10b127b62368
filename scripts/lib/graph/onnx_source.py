"""Exported ONNX files as a model's source: which sizes there are, and the file for a size."""

from collections.abc import Mapping
from pathlib import Path

import onnx

from lib.data.imgsz import ImageSize
from lib.graph.onnx_file import load
from lib.step.errors import UserError

DYNAMIC = "dynamic"  # stands for every size


def size_of(model: onnx.ModelProto, path) -> str:
    """The input size, spelled as in file names, or DYNAMIC. Raises UserError when the input is not an image."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in constants]
    shapes = [[d.dim_value for d in tensor.type.tensor_type.shape.dim] for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise UserError(f"{path} has inputs {shapes} (0: dynamic); one image [1, 3, height, width] is expected")
    _, *rest = shapes[0]
    height, width = rest[:2] if rest[2] in (1, 3) and rest[0] not in (1, 3) else rest[1:]
    return str(ImageSize(width, height)) if width and height else DYNAMIC


def by_size(paths: list) -> dict[str, Path]:
    """The files by input size. Raises UserError if an input is not an image or two files have the same size."""
    files = {}
    for path in paths:
        size = size_of(load(path), path)
        if size in files:
            what = "have dynamic sizes" if size == DYNAMIC else f"are both of size {size}"
            raise UserError(f"{files[size]} and {path} {what}; name one of them")
        files[size] = path
    return files


def of_size(files: Mapping[str, Path], imgsz: ImageSize, name: str) -> Path:
    """The file of the model `name` for a size. Raises UserError, which lists the sizes, if there is none."""
    if lacking := sizes_lacking(files, [str(imgsz)]):
        raise UserError(lacking_line(name, files, lacking))
    return files.get(str(imgsz)) or files[DYNAMIC]


def sizes_lacking(files: Mapping[str, Path], sizes: list[str]) -> list[str]:
    """Those of `sizes` for which there is no file."""
    return [] if DYNAMIC in files else [size for size in sizes if size not in files]


def lacking_line(name: str, files: Mapping[str, Path], lacking: list[str]) -> str:
    """The sentence about sizes for which the model `name` has no file."""
    return (
        f"models.{name}.onnx has no export of size {', '.join(lacking)}; there is {', '.join(files)}: "
        "use these sizes in sweep.imgsz, or export the model for the others too"
    )
