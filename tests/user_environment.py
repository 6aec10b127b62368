"""What a runner's environment may hold and a user's does not. conftest.py takes it away before anything reads it."""

import os

# How the runner likes its Python and its threads; what it tells the tools beside their options; what `make test` leaves
# to a make that a test starts.
BEGINNINGS = ("PYTHON", "MAKE", "OMP_", "OPENBLAS_", "MKL_", "YOLO_", "DVC_", "SNAKEMAKE_", "SLURM_", "TQDM_",
              "GITHUB_", "RKNN_", "DEBUG_")  # fmt: skip
# The width of a terminal, a compiler for the bundle's proof, files in place of a board's, switches of rknn-toolkit2 for
# its own developers, the Makefile's variables.
NAMES = ("LIGHT", "VERSION", "MFLAGS", "GNUMAKEFLAGS", "CI", "CC", "COLUMNS", "LINES", "RV1106_QUIET", "BOARD_ROOT",
         "DUMP_Q", "FULL_MODEL_TEST", "GEN_MODEL", "TEST_MODE", "TRANSFER_LOG_LEVEL", "USE_RK_CAFFE")  # fmt: skip
# A machine's own word on its processor, without which an old OpenBLAS may compute wrong results there.
KEPT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def is_foreign(name: str) -> bool:
    """Whether a variable is one that no test may see from its runner."""
    return name not in KEPT and (name in NAMES or name.startswith(BEGINNINGS))


def forget() -> dict[str, str]:
    """Take all of them out of this process's environment; returns a copy of what is left."""
    for name in filter(is_foreign, list(os.environ)):
        del os.environ[name]
    return dict(os.environ)
