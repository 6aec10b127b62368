"""The task's part of a bundle: classify.h, and the meaning of its numbers."""

import numpy as np

from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.bundle_part import BundlePart
from lib.tasks.classify.decoding import BEST, VALUE


def contract_lines(outputs: OutputSpec) -> list[str]:
    """From values to the best classes, one sentence per step."""
    return [f"best classes: the largest values first, of equal ones the lower class; the {BEST} best are listed"]


def _extras(outputs: OutputSpec, numbers: list[list[float]]) -> dict[str, np.ndarray]:
    return {VALUE: np.array(numbers, np.float32).reshape(len(numbers), 1)}


def _apart(expected: Instances, detected: Instances) -> np.ndarray:
    return np.abs(expected.extras[VALUE] - detected.extras[VALUE]).max(axis=1)


bundle_part = BundlePart(
    map_meaning=lambda output: {},  # the task adds no map to that of the family
    numbers=lambda instances: list(instances.extras[VALUE]),
    decimals=(6,),
    extras=_extras,
    apart=_apart,
    tolerance=1e-4,
    unit="of a class's value",
    line_bytes=lambda outputs: 14,  # a number and its comma
    usage=lambda outputs: "",  # the README of classifiers has it
    c_name=lambda outputs: "classify_task",
    readme="README.classifier.md",
)
