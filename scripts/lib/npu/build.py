"""A build's facts as they lie in build.json, beside the `.rknn`."""

from dataclasses import dataclass

from lib.npu.build_log import CPU, BuildLog, Operator
from lib.step.typed_json import JsonRecord, omitted_if_none

# What may run an INT8 model: the toolkit's own simulator, or lib.npu.twin.
SIMULATORS = TOOLKIT, TWIN = ("toolkit", "twin")


@dataclass(frozen=True)
class Build(JsonRecord):
    """What the toolkit made, and what its log says of it. The memory is in KB of 1024 bytes."""

    toolkit: str  # its version
    platform: str
    rknn_bytes: int
    npu_mcycles: float  # 10^6 cycles of all operators
    operators: tuple[Operator, ...]  # in the order of computation, input and outputs among them
    internal_kb: float
    weight_kb: float
    messages: tuple[str, ...]  # every `E RKNN` and `W RKNN` line in order, without its time
    simulator: str | None = omitted_if_none()  # what its detections are from; None for the toolkit's own

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
        """Memory for weights and for tensors between operators, input and output among them, in MB of 2^20 bytes."""
        return (self.internal_kb + self.weight_kb) / 1024
