"""The deploy bundle: a `.rknn`, the contract of its outputs, C code that decodes them, and the proof that it does.

decode.h and main.c are part of every bundle as they lie here; README.md is filled in.
"""

from pathlib import Path

HERE = Path(__file__).parent
DECODER = ("decode.h", "main.c")
