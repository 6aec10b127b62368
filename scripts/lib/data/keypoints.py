"""What a config and a data set say about keypoints: their number, the values of each, how far off each may be."""

import math
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import NamedTuple

from lib.step.errors import UserError

KEYPOINT_TASK = "pose"  # the task that uses keypoints
# The fraction of its box that an object is assumed to fill where its area is not given; Ultralytics' value
# (ultralytics/models/yolo/pose/val.py).
AREA_OF_BOX = 0.53
COCO_SIGMAS = "coco"  # the word for COCO's own sigmas
VALUES = (2, 3)  # of a keypoint in a label: x, y; or x, y and how visible it is


class KeypointShape(NamedTuple):
    """Ultralytics' `kpt_shape`: keypoints per object, and values per keypoint in the labels, 2 or 3."""

    keypoints: int
    values: int

    def __str__(self) -> str:
        return f"[{self.keypoints}, {self.values}]"


def keypoint_shape(given, where: str) -> KeypointShape:
    """The shape that a config or a data.yaml gives. Raises UserError, which begins with `where`, for anything else."""
    whole = isinstance(given, list | tuple) and all(type(number) is int for number in given)
    if not whole or len(given) != 2 or given[0] < 1 or given[1] not in VALUES:
        raise UserError(
            f"{where} is {given}, not the number of keypoints per object and the values of each, 2 (x, y) or 3 "
            "(x, y, visibility), such as [17, 3]"
        )
    return KeypointShape(*given)


def keypoint_sigmas(given: str | Iterable, where: str) -> tuple[float, ...] | None:
    """The sigmas of OKS (how far off each keypoint may be), one per keypoint, from numbers or texts; None for COCO's.

    Raises UserError, which begins with `where`, for anything but positive numbers.
    """
    words = given.split() if isinstance(given, str) else [word for text in given for word in str(text).split()]
    if words == [COCO_SIGMAS]:
        return None
    try:
        sigmas = tuple(map(float, words))
    except ValueError:
        sigmas = ()
    if not sigmas or not all(0 < sigma < math.inf for sigma in sigmas):
        raise UserError(f"{where} is '{' '.join(words)}', neither {COCO_SIGMAS} nor a positive number per keypoint")
    return sigmas


def add_sigmas_option(parser: ArgumentParser) -> None:
    """Add the option for the sigmas; `keypoint_sigmas` reads its value."""
    parser.add_argument(
        "--oks-sigmas",
        nargs="+",
        default=[COCO_SIGMAS],
        metavar="SIGMA",
        help="how far off each keypoint may be, one number per keypoint (default: COCO's own for 17, else 1/K)",
    )
