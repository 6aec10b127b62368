"""The deploy bundle: a `.rknn`, the contract of its outputs, C code that decodes them, and the proof of that code.

decode.h, the header of the model's family, main.c, detect.c with its parts and its Makefile, camera.c and its headers
are copied to every bundle unchanged; README.md is made from a template.
"""

from pathlib import Path

from lib import tasks
from lib.detector.output_spec import OutputSpec

HERE = Path(__file__).parent
DECODER = "main.c"  # decodes the golden files, with the headers
# The program that runs the model on the board. It needs Rockchip's header and runtime, which are not in the bundle.
BOARD_PROGRAM = ("detect.c", "about_board.h", "detector.c", "detector.h", "letterbox.h", "Makefile")
# Further files for a camera program; each may be left out.
CAMERA_PROGRAM = ("camera.c", "draw.h", "track.h", "CMakeLists.txt")
# What the commands of README.md and the Makefile leave in a bundle; it stays sound, and may be made again.
COMPILED = ("a.out", "decode", "detect", "camera")


def headers(spec: OutputSpec) -> tuple[str, ...]:
    """The C headers that decode a model's outputs: the common one, and those of its family and of its task."""
    family = spec.family
    return tuple(dict.fromkeys(("decode.h", *family.c_shared, family.c_header, tasks.get(spec.task).c_header)))
