"""A task's part of a deploy bundle: the numbers that its C header adds to a detection, and their meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from lib.detector.families import OutputMap
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec

DETECTORS_README = "README.template.md"


@dataclass(frozen=True)
class BundlePart:
    """What a task adds to a bundle besides boxes.

    map_meaning: (output) → what the channels of the task's map hold, by `first to last`
    numbers: (instances) → for each, all its numbers besides class, score and box, in the order of the C header's
        `values`
    decimals: decimals with which the C header prints the first, the second, … number, then again from the first on
    extras: (outputs, numbers of each) → the extras of instances that have those numbers; raises ValueError when their
        count is wrong
    apart: (expected, detected) → the distance of each pair, float [n], in `unit`; both have the same length
    tolerance: the largest distance that counts as the same, to allow for rounding
    unit: the unit of `apart`, in words: `px of a keypoint`
    line_bytes: (outputs) → most bytes that the numbers of a detection take in a line of text
    usage: (outputs) → how a program gets these numbers, as Markdown for the bundle's README
    c_name: (outputs) → the C header's name of the `rv1106_task` for such a model, after `rv1106_`
    readme: the file in lib/bundle that README.md of a bundle is made from
    """

    map_meaning: Callable[[OutputMap], dict[str, str]]
    numbers: Callable[[Instances], list[Sequence[float]]]
    decimals: tuple[int, ...]
    extras: Callable[[OutputSpec, list[list[float]]], dict[str, np.ndarray]]
    apart: Callable[[Instances, Instances], np.ndarray]
    tolerance: float
    unit: str
    line_bytes: Callable[[OutputSpec], int]
    usage: Callable[[OutputSpec], str]
    c_name: Callable[[OutputSpec], str] = lambda outputs: outputs.task
    readme: str = DETECTORS_README

    def lines(self, instances: Instances) -> list[str]:
        """The numbers of each instance as the bundle's program prints them, in a line that begins with a space."""
        return [
            "".join(f" {value:.{decimals}f}" for value, decimals in zip(values, cycle(self.decimals)))
            for values in self.numbers(instances)
        ]
