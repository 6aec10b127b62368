"""How the twin's outputs compare with the simulator's on the first images."""

from dataclasses import dataclass

import numpy as np

from lib.step.errors import UserError

# Images that run on both.
COMPARED = 8
# What two builds that differ in one rounding are apart stays well below: on the models that were measured the mean over
# an output's values is 0.3 of its steps at most.
_MOST_STEPS = 1.0


def steps_apart(outputs: list[np.ndarray], others: list[np.ndarray], scales: list[float]) -> float:
    """The mean difference between two results for one image, in steps of the output; of several outputs the largest."""
    pairs = zip(outputs, others, scales, strict=True)
    return max(float(np.abs(output - other).mean(dtype=np.float64)) / scale for output, other, scale in pairs)


@dataclass(frozen=True)
class Agreement:
    """How many of some images' outputs are equal to the last bit, and how many steps apart the worst one's are."""

    images: int
    same: int
    worst: float

    @classmethod
    def of(cls, apart: list[float]) -> "Agreement":
        """From what `steps_apart` says of each image. Raises UserError when that is more than rounding can do."""
        agreement = cls(len(apart), apart.count(0.0), max(apart, default=0.0))
        if agreement.worst > _MOST_STEPS:
            raise UserError(
                f"the twin of the simulator is not like it on this model: outputs are {agreement.worst:.2f} steps "
                "apart in the mean; set evaluation.simulator to toolkit"
            )
        return agreement

    def __str__(self) -> str:
        """As a phrase."""
        text = f"as the toolkit's simulator to the last bit on {self.same} of the first {self.images} images"
        return text if self.same == self.images else f"{text}, elsewhere {self.worst:.2f} steps off in the mean"
