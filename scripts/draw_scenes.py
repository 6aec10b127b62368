"""Draw labelled images of mechanical parts on a workbench, in Ultralytics' layout, from a seed.

Makes OUTPUT/images/000000.jpg … and OUTPUT/labels/000000.txt … (one object per line, as Ultralytics writes it for
--task: detect `class cx cy w h`, pose the same and `x y visibility` of four keypoints, segment a polygon, obb four
corners; all as fractions of the image; an empty file for an image without parts). Image K depends only on --seed, K and
the image's size. The output appears whole or not at all, and replaces an older one.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import lib  # noqa: F401  first: it ends a step that gets no memory with a message

# isort: split
from functools import partial
from pathlib import Path

import cv2
from tqdm import tqdm

from lib.data import scenes
from lib.detector.head import CLASSIFY
from lib.step import console
from lib.step.arguments import StepParser, at_least
from lib.step.errors import UserError, run_step
from lib.step.files import whole
from lib.step.outputs import entries
from lib.step.workers import start_silent_tracker, worker_pool


def draw_files(folder: Path, seed: int, task: str, image: dict, index: int) -> None:
    """Draw image `index` and write its JPEG and its label for `task` under `folder`."""
    scene = scenes.draw_scene(seed, index, **image)
    (folder / "images" / f"{index:06d}.jpg").write_bytes(scenes.encode_jpeg(scene, seed, index))
    (folder / "labels" / f"{index:06d}.txt").write_text("".join(f"{line}\n" for line in scene.label_lines(task)))


def is_drawn(folder: Path) -> bool:
    """Whether `folder` holds nothing but what this step makes: images and labels that are numbered from 0 on."""
    if not folder.is_dir() or entries(folder) != ["images", "labels"]:
        return folder.is_dir() and not entries(folder)
    images, labels = entries(folder / "images"), entries(folder / "labels")
    numbers = [f"{index:06d}" for index in range(len(images))]
    return images == [f"{number}.jpg" for number in numbers] and labels == [f"{number}.txt" for number in numbers]


def draw_dataset(
    output: Path, count: int, seed: int, processes: int = 1, task: str = scenes.DEFAULT_TASK, **image
) -> None:
    """Draw `count` images of the series `seed` under the folder `output`, by so many `processes`.

    task: one of `scenes.TASKS`, for which the labels are. image: width and height, as `scenes.draw_scene` takes them.
    Raises UserError when `output` is there and is no drawn data set (a slip must not cost a folder), and when a worker
    dies.
    """
    if output.exists() and not is_drawn(output):
        raise UserError(f"{output} exists and is not a drawn data set; name another folder or remove it")
    with whole(output) as part:
        for name in ("images", "labels"):
            (part / name).mkdir(parents=True)
        draw = partial(draw_files, part, seed, task, image)
        start_silent_tracker()
        # OpenCV's own threads gain nothing on patches this small. Spawned, not forked: a fork of a process whose OpenCV
        # has threads hangs at its first call.
        with worker_pool(processes, "spawn", cv2.setNumThreads, 1) as workers:
            done = workers.map(draw, range(count), chunksize=8)
            for _ in tqdm(done, "drawing", count, unit="image", file=console.terminal(), mininterval=1):
                pass


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    side = at_least(64)
    parser.add_output("--output", type=Path, required=True, metavar="DIR", is_own=is_drawn, help="folder to make")
    parser.add_argument("--count", type=at_least(0), required=True, metavar="N", help="how many images")
    parser.add_argument("--seed", type=at_least(0), required=True, metavar="S", help="which series of images")
    parser.add_argument(
        "--task",
        choices=(*scenes.TASKS, CLASSIFY),
        default=scenes.DEFAULT_TASK,
        help="what the labels are for; the images are the same (default: %(default)s)",
    )
    parser.add_argument("--width", type=side, default=640, metavar="PIXELS", help="(default: %(default)s)")
    parser.add_argument("--height", type=side, default=480, metavar="PIXELS", help="(default: %(default)s)")
    parser.add_argument("--processes", type=at_least(1), default=1, metavar="N", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    # DVC runs this step in each run, also where nothing is to be drawn.
    if args.count and args.task not in scenes.TASKS:
        raise UserError(f"no images are drawn for the task {args.task}; set draw: {{images: 0}}")
    try:
        size = {"width": args.width, "height": args.height}
        draw_dataset(args.output, args.count, args.seed, args.processes, args.task, **size)
    except OSError as error:
        raise UserError(f"cannot write {args.output}: {error.strerror or error}") from None
    console.say(f"drew {args.output}: {args.count} images of series {args.seed}")


if __name__ == "__main__":
    sys.exit(run_step(main))
