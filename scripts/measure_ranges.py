"""Measure the range of each tensor of a graph on each image of the calibration pool, once for all calibration sets.

Makes --output, a table of --onnx's tensors by the images of --pool. A range of the algorithm `normal` spans the
smallest to the largest value in calibration, so quantize.py can take it from the table and need not calibrate. The
ranges are the toolkit's own to the last bit; if the toolkit treats a graph in an unknown way, the table says so and is
empty, and quantize.py calibrates. The table also holds the first half of the toolkit's build, which is the same for all
calibration sets. Where the table of another head of the model, --other, has all of the graph's tensors, the ranges are
taken from there: the heads share most of their graph.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import math
from functools import partial
from pathlib import Path

from lib.accuracy.inference import over_images
from lib.data.calibration import pool_in_form
from lib.data.image_paths import image_paths
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.manifest import check_manifest
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.surgery.graph import input_size
from lib.npu import toolkit, toolkit_versions
from lib.npu.first_half import FirstHalf
from lib.npu.range_table import RangeTable, digests, ranges_on, read_range_table
from lib.npu.twin.ranges import RangePass, chosen
from lib.npu.twin.structure import Ranges, Structure
from lib.npu.twin.tensor_keys import tensor_keys
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError
from lib.step.files import require, sha256
from lib.step.supervisor import supervise


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--pool", required=True, type=Path, metavar="DIR", help="the letterboxed calibration pool")
    parser.add_argument("--other", type=Path, metavar="FILE.npz", help="the ranges of another graph on the same pool")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    toolkit_versions.add_toolkit_option(parser)
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output("--output", required=True, type=Path, metavar="FILE.npz")
    args = parser.parse_args(argv)
    toolkit_versions.use(args.toolkit)
    model = load(require(args.onnx, "model"))
    form, imgsz = input_form_of(model), input_size(model)
    pool = image_paths(require(args.pool, "pool"))
    if not pool:
        raise UserError(f"the pool {args.pool} has no image (jpg, jpeg, png, webp); make it again")
    check_manifest(args.pool, [path.name for path in pool])
    with pool_in_form(pool, args.dataset / "images", imgsz, form) as images:
        table = range_table(args, images, form, imgsz)
    table.write(args.output)
    if table.unknown:
        say(f"ranges in {args.output}: the toolkit must find them for each calibration set, because {table.unknown}")
    else:
        say(f"ranges in {args.output}: {len(table.tensors)} tensors on {len(table.images)} images")


def range_table(args, images: list[Path], form: InputForm, imgsz: ImageSize) -> RangeTable:
    """The table of the ranges on `images`, which are fitted in the model's `form`."""
    facts = {"form": str(form), "graph": sha256(args.onnx), "platform": args.platform, "toolkit": args.toolkit}
    half, structure, unknown = first_half(args, images[0], form)
    if unknown:
        return RangeTable.of({}, [], {}, **facts, unknown=unknown)
    keys, files = tensor_keys(structure), digests(images)
    ranges = ranges_in(args.other, keys, files, form) if args.other else None
    if ranges is None:
        start, title = partial(RangePass, structure), f"ranges of {args.onnx.stem} {imgsz}"
        ranges = over_images(start, partial(ranges_on, form), images, args.processes, title)
    if not all(math.isfinite(end) for each in ranges for ends in each.values() for end in ends):
        return RangeTable.of({}, [], {}, **facts, unknown="it has values that are not finite")
    return RangeTable.of(files, ranges, keys, **facts, half=half)


def first_half(args, image: Path, form: InputForm) -> tuple[FirstHalf | None, Structure | None, str]:
    """The first half of a build on the first image, its structure, and "".

    Or None, None, and why only the toolkit can find the ranges.
    """
    try:
        half = toolkit.first_half_of(args.onnx, image, args.platform, form)
        structure = half.structure(args.onnx)
        on_first = ranges_on(form, RangePass(structure), image)
    except UserError as error:
        return None, None, str(error)
    if chosen(structure, on_first, on_first) is None:
        return None, None, "it changes a tensor's range in an unknown way"
    return half, structure, ""


def ranges_in(path: Path, keys: dict[str, str], files: dict[str, str], form: InputForm) -> list[Ranges] | None:
    """The ranges of the tensors of `keys` on each image, in the table of another graph; None where it lacks one.

    Raises UserError when that table was measured on other images.
    """
    other = read_range_table(path)
    if other.unknown:
        return None
    other.demand_of(files, form)
    if taken := other.same(keys):
        say(f"{path} has all {len(keys)} tensors of this graph, so no image was run")
    return taken


if __name__ == "__main__":
    sys.exit(supervise(main))
