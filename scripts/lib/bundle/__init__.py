"""The deploy bundle: a `.rknn`, the contract of its outputs, C code that decodes them, and the proof of that code.

Copied to every bundle unchanged: decode.h, the headers of the model's family and task, main.c, detect.c with its parts
and its Makefile, camera.c and its headers. README.md is made from a template, model.h from the contract.
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
# Programs that the commands of README.md and the Makefile compile in a bundle. The check of a bundle ignores them.
COMPILED = ("a.out", "decode", "detect", "camera")


def headers(spec: OutputSpec) -> tuple[str, ...]:
    """Return the C headers that decode a model's outputs: the common one, those of its family, that of its task."""
    family = spec.family
    return tuple(dict.fromkeys(("decode.h", *family.c_shared, family.c_header, tasks.get(spec.task).c_header)))
