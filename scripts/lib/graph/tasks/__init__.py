"""One file per task with maps of its own: how they are recognized in an exported graph and cut out of it.

feature map ─ Conv ─ task's map ─ … ─ columns [1, E, N]          →          … ─ Conv ─ ROLE_S        per stride
                     (per stride)

The nodes between the maps and the columns are not matched one by one: they are run on noise, and the result shows which
task's decoding they are. A file here is found automatically: it registers one `GraphTask`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import onnx

from lib import tasks
from lib.detector.families import OutputMap
from lib.detector.families.sides import Sides
from lib.graph.surgery.behind import Behind
from lib.graph.surgery.detector import Detector
from lib.graph.surgery.graph import Graph
from lib.step.errors import UserError
from lib.tasks.segment.decoding import PROTOTYPES


@dataclass(frozen=True)
class Reading:
    """The columns after the scores, and the maps that they are computed from.

    maps: a tensor [1, K, H, W] per stride, the finest first. strides: of the maps. noise: values float32 [N, K] of the
    maps. columns: float32 [N, E], what the graph computes from them. points: float32 [N, 2], the middle of each cell as
    x, y in strides. unit: float32 [N, 1], the stride of each. prototypes: the tensor that masks are computed from, or
    None. rounding: how far columns may be from the expected ones, as a fraction of the largest.
    """

    maps: tuple[str, ...]
    strides: tuple[int, ...]
    noise: np.ndarray
    columns: np.ndarray
    points: np.ndarray
    unit: np.ndarray
    prototypes: OutputMap | None
    rounding: float

    def is_made_by(self, expected: np.ndarray) -> bool:
        """Whether the columns are `expected`, float32 [N, E], except for rounding."""
        if expected.shape != self.columns.shape:
            return False
        unit = np.maximum(1, np.abs(expected).max(axis=0))
        return bool((np.abs(self.columns - expected) / unit).max() <= 10 * self.rounding)

    def of_strides(self, role: str, channels: int) -> tuple[OutputMap, ...]:
        """One map of `role` per stride."""
        return tuple(OutputMap(role, stride, channels) for stride in self.strides)


@dataclass(frozen=True)
class GraphTask:
    """What surgery needs to know about a task.

    name: as in lib.tasks. recognize(reading): the task's maps of the head `split`, None for another task's columns.
    cut(graph, reading, prototypes): makes the tensors of these maps, with their names.
    """

    name: str
    recognize: Callable[[Reading], tuple[OutputMap, ...] | None]
    cut: Callable[[Graph, Reading, str | None], None]


_tasks: dict[str, GraphTask] = {}


def register(task: GraphTask) -> None:
    """Register a task under its name. Raises ValueError when another task has that name."""
    if task.name in _tasks:
        raise ValueError(f"two tasks are called '{task.name}'")
    _tasks[task.name] = task


def recognize(graph: Graph, detector: Detector, family: Sides) -> tuple[str, tuple[OutputMap, ...]]:
    """The task of a graph, and its own maps of the head `split`, which are none for detection.

    Raises UserError when the predictions contain something that no task recognizes.
    """
    if detector.columns is None:
        if detector.prototypes:
            raise UserError("the model has mask prototypes, but its predictions have no coefficients for them")
        return tasks.DEFAULT, ()
    reading = _reading(graph, detector, family)
    for name in sorted(_tasks):
        if extras := _tasks[name].recognize(reading):
            return name, extras
    count = reading.columns.shape[1]
    raise UserError(
        f"the model's predictions have {count} numbers after the scores that are neither keypoints, nor mask "
        "coefficients, nor an angle as in Ultralytics' models"
    )


def cut(graph: Graph, detector: Detector, family: Sides, task: str) -> None:
    """Make the tensors of a task's own maps, with their names, in a graph that `recognize` accepts."""
    _tasks[task].cut(graph, _reading(graph, detector, family), detector.prototypes)


def _reading(graph: Graph, detector: Detector, family: Sides) -> Reading:
    part = Graph(graph.model)
    part.set_outputs({detector.columns: part.shape(detector.columns)})
    part.tidy()
    maps = _nearest_maps(part, detector.columns, [graph.shape(name)[2:] for name in detector.box_maps])
    behind = Behind(part, maps)
    noise = np.concatenate([values.reshape(len(values), -1).T for values in behind.noise])
    [columns] = behind.of_noise
    points, unit = family.centres(graph.imgsz)
    return Reading(
        maps,
        family.strides,
        noise,
        columns.reshape(-1, len(noise)).T,
        points,
        unit,
        prototypes_map(graph, detector.prototypes) if detector.prototypes else None,
        behind.rounding,
    )


def _nearest_maps(graph: Graph, columns: str, sizes: list[tuple[int, int]]) -> tuple[str, ...]:
    """For each of the `sizes` (height, width), the nearest map that the columns are computed from."""

    def is_map(node: onnx.NodeProto) -> bool:
        return len(graph.shape(node.output[0])) == 4 and graph.shape(node.output[0])[2:] in sizes

    names = [node.output[0] for node in graph.upwards([columns], is_map) if is_map(node)]
    by_size = {graph.shape(name)[2:]: name for name in names}
    if len(names) != len(sizes) or set(by_size) != set(sizes) or len({graph.shape(name)[1] for name in names}) != 1:
        listed = ", ".join(str(list(graph.shape(name))) for name in names[:6])
        raise UserError(
            f"the numbers after the scores come from feature maps {listed}; one per stride, {sizes}, is expected"
        )
    return tuple(by_size[size] for size in sizes)


def prototypes_map(graph: Graph, name: str) -> OutputMap:
    """The tensor of prototypes as a map of the head `split`."""
    _, channels, height, _ = graph.shape(name)
    return OutputMap(PROTOTYPES, graph.imgsz.height // height, channels)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
