"""Fetch a detection data set into one flat, checked folder.

Makes --output/images and --output/labels, in Ultralytics' layout, from the first of --archive (a URL or path of a zip,
or a folder) that works, or from --yaml, --coco, --voc, --dota or --obj_data; names.txt with the class names; and
parts.csv with the part (train, val, test) of each image. If there are parts, the images of --part are kept, and those
of train that --calibration and --seed draw. Images without labels are background images and count; a broken label is an
error, and so is an image that does not decode. A line that repeats another one of its file is dropped. For --task
detect, polygons become the boxes around them; for pose, each keypoint gets three values, and --kpt_shape gives the
number of keypoints and of values per keypoint if neither the data set nor the labels show them.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import tempfile
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lib import tasks
from lib.data.checked_labels import CUT, DUPLICATE, FAR, MOVED, ORPHANS, Labelling
from lib.data.dataset import Gathered, flat_names, gather
from lib.data.formats.source import Source, first_few
from lib.data.manifest import has_manifest
from lib.data.names import distinct, read_names
from lib.data.opening import CALIBRATION, Place, opened, source_arguments, source_block, unpacked_in
from lib.data.parts import EVALUATED, Wanted, kept, write_parts
from lib.step.arguments import StepParser, at_least
from lib.step.console import say, terminal
from lib.step.errors import UserError
from lib.step.files import whole, write_text
from lib.step.supervisor import supervise


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    source_arguments(parser)
    parser.add_argument("--name", default="data set", help="its name in messages")
    parser.add_argument("--names", nargs="+", help="class names, or a file with one per line")
    parser.add_argument("--task", choices=tasks.names(), default=tasks.DEFAULT, help="what the labels are for")
    parser.add_argument("--kpt_shape", nargs="+", type=int, metavar="N", help="keypoints, and values of each (2 or 3)")
    parser.add_argument("--part", choices=EVALUATED, default="val", help="the part to keep (default: %(default)s)")
    parser.add_argument(
        "--calibration", type=at_least(0), default=0, metavar="N", help="images of train to keep (default: %(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of their draw (default: %(default)s)")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        is_own=has_manifest,
        parts=("images", "labels"),
        files=("names.txt", "parts.csv"),
    )
    args = parser.parse_args(argv)
    given = tuple(read_names(args.names)) if args.names else None
    with (
        tempfile.TemporaryDirectory() as scratch,
        whole(args.output / "images") as images,
        whole(args.output / "labels") as labels,
    ):
        source = wanted_of(args, given, Path(scratch))
        for remark in source.remarks:
            say(remark)
        watch = partial(tqdm, desc="check images", unit="image", file=terminal(), disable=None)
        task = tasks.get(args.task)
        check = partial(task.check_label, classes=len(source.names))
        labelling = Labelling(check, task.line_of, task.words_of(source, args.kpt_shape))
        gathered = gather(source, images, labels, labelling, args.threads, watch)
        write_text(args.output / "names.txt", "".join(f"{name}\n" for name in source.names))
        write_parts(args.output / "parts.csv", {name: item.part for name, item in flat_names(source).items()})
    tell(gathered)
    background = f"{gathered.background} background"
    objects = f"{gathered.objects} {task.objects}"
    if gathered.keypoints:
        objects = f"{gathered.objects} objects with {gathered.keypoints} labelled keypoints"
    say(f"{args.name} {args.output}: {gathered.images} images ({background}), {objects}")


def wanted_of(args, names: tuple[str, ...] | None, scratch: Path) -> Source:
    """The images of the data set and of the calibration source that the run needs, with the class names."""
    options = vars(args)
    unpack = partial(unpacked_in, scratch)
    source = opened(Place.of(source_block(options, "", args.output), names, "dataset", args.task), unpack)
    if source.names is None:
        raise UserError(f"{source.place} has no class names; give --names (dataset.names)")
    if names is not None and source.names != names:
        raise UserError(f"--names (dataset.names) is not for {source.place}, which names its own classes")
    distinct(list(source.names), str(source.place))
    pool = source_block(options, CALIBRATION, args.output)
    # Its labels are not used, so the class names are not those of its labels.
    calibration = opened(Place.of(pool, None, "dataset.calibration"), unpack) if pool else None
    return kept(source, calibration, Wanted(args.part, args.calibration, args.seed))


def tell(gathered: Gathered) -> None:
    """Print what was changed or left out."""
    if gathered.polygons:
        say(f"{gathered.polygons} of {gathered.objects} labels are polygons; the boxes around them are used")
    if gathered.duplicates:
        say(DUPLICATE.format(gathered.duplicates))
    if gathered.ignored:
        say(f"{gathered.ignored} labels are crowds or difficult objects: a detection there is neither right nor wrong")
    if gathered.cut:
        say(CUT.format(gathered.cut))
    if gathered.far:
        say(FAR.format(len(gathered.far), first_few(dict.fromkeys(gathered.far))))
    if gathered.outside:
        say(f"{gathered.outside} keypoints are outside their image and count as not labelled")
    if gathered.moved:
        say(MOVED.format(gathered.moved))
    if gathered.boxed:
        say(f"WARNING: {gathered.boxed} objects have no outline; the outline of their box is used")
    if gathered.empty:
        listed = first_few(gathered.empty)
        say(f"WARNING: {len(gathered.empty)} boxes have no area in their image and are dropped: {listed}")
    if gathered.others:
        listed = ", ".join(gathered.others[:5])
        say(f"WARNING: {len(gathered.others)} files are not jpg, png or webp and are left out: {listed}")
    if gathered.orphans:
        say(ORPHANS.format(len(gathered.orphans), first_few(gathered.orphans)))
    if gathered.copies:
        extra = sum(len(alike) - 1 for alike in gathered.copies)
        say(
            f"WARNING: {gathered.images - extra} different images among {gathered.images}: "
            f"{first_few(' = '.join(alike) for alike in gathered.copies)}"
        )


if __name__ == "__main__":
    sys.exit(supervise(main))
