"""How many digits a figure has where people read it."""

MAP_DIGITS = 4
# Of sizes and counts, in columns of their own.
DIGITS = {"rknn_mb": 2, "npu_mcycles": 2, "internal_kb": 1, "weight_kb": 1, "ms_low": 1, "ms_high": 1, "ms_board": 1}
