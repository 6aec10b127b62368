"""The deploy bundle: a `.rknn`, the contract of its outputs, C code that decodes them, and the proof that it does.

decode.h, the header of the model's family, main.c, detect.c and its Makefile are part of every bundle as they lie here;
README.md is filled in.
"""

from pathlib import Path

HERE = Path(__file__).parent
# What runs the model on the board: it needs Rockchip's header and runtime, which are in no bundle.
BOARD_PROGRAM = ("detect.c", "Makefile")


def decoder(header: str) -> tuple[str, ...]:
    """The decoder's files for a model whose family has the C header `header`."""
    return ("decode.h", header, "main.c")
