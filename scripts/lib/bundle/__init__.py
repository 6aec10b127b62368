"""The deploy bundle: a `.rknn`, the contract of its outputs, C code that decodes them, and the proof that it does.

decode.h, main.c, detect.c and its Makefile are part of every bundle as they lie here; README.md is filled in.
"""

from pathlib import Path

HERE = Path(__file__).parent
DECODER = ("decode.h", "main.c")
# What runs the model on the board: it needs Rockchip's header and runtime, which are in no bundle.
BOARD_PROGRAM = ("detect.c", "Makefile")
