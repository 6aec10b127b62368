"""A build's facts, stored in build.json beside the `.rknn`."""

from dataclasses import dataclass

from lib.npu.build_log import CPU, BuildLog, Operator
from lib.step.typed_json import JsonRecord, omitted_if_none

# What can run an INT8 model: the toolkit's own simulator, or a replacement from lib.npu.twin.
SIMULATORS = TOOLKIT, TWIN, TWIN_FAST, NPU = ("toolkit", "twin", "twin_fast", "npu")
USE_TOOLKIT = f"set evaluation.simulator to {TOOLKIT}"  # the advice where a replacement does not do


@dataclass(frozen=True)
class Agreement(JsonRecord):
    """How the outputs of another simulator compare with the toolkit's on the first images."""

    images: int
    same: int  # how many of these have all outputs equal to the last bit
    steps: float  # mean difference in steps, for the output that differs most
    noise: float  # the same between two runs that differ only in the order of summation

    def __str__(self) -> str:
        """As a phrase."""
        text = f"as the toolkit's simulator to the last bit on {self.same} of the first {self.images} images"
        if self.same == self.images:
            return text
        return f"{text}; {self.steps:.2f} steps off on average, where the order of sums alone makes {self.noise:.2f}"


@dataclass(frozen=True)
class Build(JsonRecord):
    """What the toolkit built, and what its log says about it. Memory is in KB of 1024 bytes."""

    toolkit: str  # its version
    platform: str
    rknn_bytes: int
    npu_mcycles: float  # 10^6 cycles of all operators
    operators: tuple[Operator, ...]  # in the order of computation, including input and outputs
    internal_kb: float
    weight_kb: float
    messages: tuple[str, ...]  # every `E RKNN` and `W RKNN` line in order, without the time
    simulator: str | None = omitted_if_none()  # what made its detections; None for the toolkit's own
    agreement: Agreement | None = omitted_if_none()  # of that simulator with the toolkit's own

    @classmethod
    def of(cls, log: BuildLog, toolkit: str, platform: str, rknn_bytes: int) -> "Build":
        """The facts of a build that printed `log`."""
        return cls(
            toolkit,
            platform,
            rknn_bytes,
            log.cycles / 1e6,
            log.operators,
            log.internal_kb,
            log.weight_kb,
            log.messages,
        )

    @property
    def inner_operators(self) -> tuple[Operator, ...]:
        """The operators that are neither input nor output."""
        return tuple(operator for operator in self.operators if not operator.is_end)

    @property
    def cpu_operators(self) -> tuple[Operator, ...]:
        """The operators on the CPU that are neither input nor output."""
        return tuple(operator for operator in self.inner_operators if operator.target == CPU)

    @property
    def memory_mb(self) -> float:
        """Memory for weights and for tensors between operators, including input and output, in MB of 2^20 bytes."""
        return (self.internal_kb + self.weight_kb) / 1024
