"""The names of the quantization algorithms."""

from collections.abc import Sequence

NORMAL = "normal"  # the ranges are the smallest and the largest value
OF_TOOLKIT = (NORMAL, "mmse", "kl_divergence")
# This project's own.
CORRECTED = "corrected"  # lib.npu.biases
GPTQ = "gptq"  # lib.npu.weights
SEARCH = "search"  # lib.npu.search
ALGORITHMS = (*OF_TOOLKIT, CORRECTED, GPTQ, SEARCH)

# These change the model's parameters, not its ranges.
OF_PARAMETERS = (CORRECTED, GPTQ)
# These can be built from ranges that were measured earlier.
RANGED = (NORMAL, *OF_PARAMETERS)
# These need a toolkit that accepts ranges.
OWN = (*OF_PARAMETERS, SEARCH)


def either(names: Sequence[str]) -> str:
    """The names as a list in a sentence."""
    *first, last = names
    return f"{', '.join(first)} or {last}"
