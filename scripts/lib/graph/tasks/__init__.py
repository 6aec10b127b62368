"""A file for each task that has maps of its own: how they are recognized in an exported graph, and cut out of it.

feature map ─ Conv ─ task's map ─ … ─ columns [1, E, N]          →          … ─ Conv ─ ROLE_S        a stride each
                     (a stride each)

What lies between the maps and the columns is not matched node by node: it is run on noise, and what comes out says
which task's decoding it is. A file here is found by itself: it registers one `GraphTask`.
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
    """The columns that stand behind the scores, and the maps they are made of.

    maps: a tensor [1, K, H, W] for each stride, the finest first. strides: theirs. noise: values float32 [N, K] of the
    maps; columns: float32 [N, E], what the graph makes of them. points: float32 [N, 2], the middle of each cell as x, y
    in strides; unit: float32 [N, 1], the stride of each. prototypes: the tensor that masks are made of, or None.
    rounding: how far columns may be from what is expected, as a share of the largest.
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
        """Whether the columns are `expected`, float32 [N, E], but for rounding."""
        if expected.shape != self.columns.shape:
            return False
        unit = np.maximum(1, np.abs(expected).max(axis=0))
        return bool((np.abs(self.columns - expected) / unit).max() <= 10 * self.rounding)

    def of_strides(self, role: str, channels: int) -> tuple[OutputMap, ...]:
        """A map of `role` for each stride."""
        return tuple(OutputMap(role, stride, channels) for stride in self.strides)


@dataclass(frozen=True)
class GraphTask:
    """What surgery must know of a task.

    name: as lib.tasks has it. recognize(reading): the task's maps of the head `split`, None for what is another's.
    cut(graph, reading, prototypes): makes the tensors of these maps, by their names.
    """

    name: str
    recognize: Callable[[Reading], tuple[OutputMap, ...] | None]
    cut: Callable[[Graph, Reading, str | None], None]


_tasks: dict[str, GraphTask] = {}


def register(task: GraphTask) -> None:
    """Make a task known by its name. Raises ValueError when another has that name."""
    if task.name in _tasks:
        raise ValueError(f"two tasks are called '{task.name}'")
    _tasks[task.name] = task


def recognize(graph: Graph, detector: Detector, family: Sides) -> tuple[str, tuple[OutputMap, ...]]:
    """The task of a graph, and its own maps of the head `split`: none for detection.

    Raises UserError where the predictions hold something that no task knows.
    """
    if detector.columns is None:
        if detector.prototypes:
            raise UserError("the model has prototypes of masks, and predictions without coefficients for them")
        return tasks.DEFAULT, ()
    reading = _reading(graph, detector, family)
    for name in sorted(_tasks):
        if extras := _tasks[name].recognize(reading):
            return name, extras
    count = reading.columns.shape[1]
    raise UserError(
        f"the model's predictions have {count} numbers behind the scores that are neither keypoints, nor coefficients "
        "of masks, nor an angle as Ultralytics has them"
    )


def cut(graph: Graph, detector: Detector, family: Sides, task: str) -> None:
    """Make the tensors of a task's own maps, by their names, in a graph that `recognize` knows."""
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
    """The map of each of the `sizes` (height, width) that the columns are made of, as near to these as can be."""

    def is_map(node: onnx.NodeProto) -> bool:
        return len(graph.shape(node.output[0])) == 4 and graph.shape(node.output[0])[2:] in sizes

    names = [node.output[0] for node in graph.upwards([columns], is_map) if is_map(node)]
    by_size = {graph.shape(name)[2:]: name for name in names}
    if len(names) != len(sizes) or set(by_size) != set(sizes) or len({graph.shape(name)[1] for name in names}) != 1:
        listed = ", ".join(str(list(graph.shape(name))) for name in names[:6])
        raise UserError(
            f"what stands behind the scores comes from feature maps {listed}; one of each stride, {sizes}, is expected"
        )
    return tuple(by_size[size] for size in sizes)


def prototypes_map(graph: Graph, name: str) -> OutputMap:
    """The tensor of prototypes as a map of the head `split`."""
    _, channels, height, _ = graph.shape(name)
    return OutputMap(PROTOTYPES, graph.imgsz.height // height, channels)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
