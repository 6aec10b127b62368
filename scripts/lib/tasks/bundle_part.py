"""A task's part of a deploy bundle: what its C header adds to a detection, as numbers, and what they mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from lib.detector.families import OutputMap
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec


@dataclass(frozen=True)
class BundlePart:
    """What a task adds to a bundle besides boxes.

    map_meaning: (output) → what the channels of the task's map hold, by `first to last`
    numbers: (instances) → of each, all that it has besides class, score and box, in the order of the C header's
        `values`
    decimals: with how many the C header has them printed, of the first, the second, …, and again from the first on
    extras: (outputs, numbers of each) → the extras of instances that have those numbers; raises ValueError when they
        are not as many as there must be
    apart: (expected, detected) → how far each two are apart, float [n], in `unit`; called with as many of both
    tolerance: how far they may be apart and still be the same, but for rounding
    unit: what `apart` counts, for people: `px of a keypoint`
    line_bytes: (outputs) → how many bytes the numbers of a detection may take in a line of text
    usage: (outputs) → how a program gets at them, for the bundle's README: Markdown
    c_name: (outputs) → what the C header calls its `rv1106_task` for such a model, behind `rv1106_`
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

    def lines(self, instances: Instances) -> list[str]:
        """The numbers of each as the bundle's program prints them, in a line that begins with a blank."""
        return [
            "".join(f" {value:.{decimals}f}" for value, decimals in zip(values, cycle(self.decimals)))
            for values in self.numbers(instances)
        ]
