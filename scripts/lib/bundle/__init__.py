"""The deploy bundle: a `.rknn`, the contract of its outputs, C code that decodes them, and the proof that it does.

decode.h, the header of the model's family, main.c, detect.c with what it is made of and its Makefile, camera.c and its
headers are part of every bundle as they lie here; README.md is filled in.
"""

from pathlib import Path

from lib import tasks
from lib.detector.output_spec import OutputSpec

HERE = Path(__file__).parent
DECODER = "main.c"  # decodes the golden files, with the headers
# What runs the model on the board: it needs Rockchip's header and runtime, which are in no bundle.
BOARD_PROGRAM = ("detect.c", "about_board.h", "detector.c", "detector.h", "letterbox.h", "Makefile")
# For a camera's program, besides: each may be left out.
CAMERA_PROGRAM = ("camera.c", "draw.h", "track.h", "CMakeLists.txt")
# What the commands of README.md and the Makefile leave in a bundle; it stays sound, and may be made again.
COMPILED = ("a.out", "decode", "detect", "camera")


def headers(spec: OutputSpec) -> tuple[str, ...]:
    """The C headers that decode a model's outputs: what all share, and those of its family and of its task."""
    family = spec.family
    return tuple(dict.fromkeys(("decode.h", *family.c_shared, family.c_header, tasks.get(spec.task).c_header)))
