"""Fetch a detection data set into one flat, checked folder.

Makes --output/images and --output/labels from the first of --archive (a URL or path of a zip, or a folder) that
works, in Ultralytics' layout. Images without labels are background images and count; a broken label is an error, and
so is an image that does not decode. Polygons become the boxes around them. A line that repeats another one of its file
is dropped.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

import tempfile
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lib import tasks
from lib.data.dataset import gather, unpack
from lib.data.download import fetch
from lib.data.manifest import has_manifest
from lib.data.names import read_names
from lib.data.sources import DRAWN
from lib.step.arguments import StepParser, at_least
from lib.step.console import say, terminal
from lib.step.errors import UserError, run_step
from lib.step.files import whole


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument(
        "--archive",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help=f"zip (URL or path) or folder; '{DRAWN}' is the folder of that name beside --output",
    )
    parser.add_argument("--sha256", default="", help="SHA-256 of the zip, in hex")
    parser.add_argument("--name", default="data set", help="what messages call it")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one per line")
    parser.add_argument("--task", choices=tasks.names(), default=tasks.DEFAULT, help="what the labels are for")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    parser.add_output(
        "--output", required=True, type=Path, metavar="DIR", is_own=has_manifest, parts=("images", "labels")
    )
    args = parser.parse_args(argv)
    names = read_names(args.names)
    sources = [str(args.output.parent / DRAWN) if source == DRAWN else source for source in args.archive]
    with (
        tempfile.TemporaryDirectory() as scratch,
        whole(args.output / "images") as images,
        whole(args.output / "labels") as labels,
    ):
        source = local_folder(sources, args.sha256, Path(scratch))
        watch = partial(tqdm, desc="check images", unit="image", file=terminal(), disable=None)
        check_label = partial(tasks.get(args.task).check_label, classes=len(names))
        gathered = gather(source, images, labels, check_label, args.threads, watch)
    if gathered.polygons:
        say(f"{gathered.polygons} of {gathered.objects} labels are polygons; the boxes around them are used")
    if gathered.duplicates:
        say(f"{gathered.duplicates} duplicate labels are dropped: lines that repeat another one of their file")
    if gathered.others:
        listed = ", ".join(gathered.others[:5])
        say(f"WARNING: {len(gathered.others)} files are no jpg or png and are left out: {listed}")
    if gathered.orphans:
        say(f"WARNING: {len(gathered.orphans)} label files belong to no image: {', '.join(gathered.orphans[:5])}")
    background = f"{gathered.background} background"
    say(f"{args.name} {args.output}: {gathered.images} images ({background}), {gathered.objects} boxes")


def local_folder(sources: list[str], checksum: str, scratch: Path) -> Path:
    """The data set as a folder: a source that is one, or a zip unpacked in `scratch`, whichever works first."""
    folders = [source for source in sources if Path(source).is_dir()]
    zips = sources[: sources.index(folders[0])] if folders else sources
    if zips and not checksum:
        say("WARNING: the data set has no sha256 in the config (dataset.sha256); it is used unchecked")
    archive = scratch / "dataset.zip"
    try:
        source = fetch(zips, archive, checksum or None, "dataset.archive")
        say(f"data set from {source}")
    except UserError as error:
        if not folders:
            raise
        if zips:
            say(f"{error}")
        say(f"data set is taken from the folder {folders[0]} as it is: a folder has no sha256 to check")
        return Path(folders[0])
    # Messages name it, so it is called as the source is.
    archive = archive.rename(scratch / Path(source).name)
    unpacked = scratch / "unpacked" / Path(source).stem
    unpacked.mkdir(parents=True)
    unpack(archive, unpacked)
    return unpacked


if __name__ == "__main__":
    sys.exit(run_step(main))
