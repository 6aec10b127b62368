"""A toy family and a toy task in a folder of their own.

The family: a cell says cx, cy, w, h as fractions of the input's sides. The task: an instance has a weight in 0..1, and
two of them are the same by their weights. An exported graph of both, and what surgery makes of it:

Conv ─ Sigmoid ─ box map    ─ Reshape ─ Mul ─┐                       box_S     [1, 4, H/S, W/S]
Conv ─ Sigmoid ─ scores map ─ Reshape ───────┼ Concat ─ output   →   scores_S  [1, C, H/S, W/S]
Conv ─ Sigmoid ─ weight map ─ Reshape ───────┘                       weight_S  [1, 1, H/S, W/S]
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lib import tasks
from lib.data.checked_labels import CheckedLabel
from lib.detector import families
from lib.detector.families import Family, OutputMap, cells
from lib.detector.head import EXPORTED, SPLIT
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.graph import families as graph_families
from lib.graph.surgery.passes import Pass, always
from lib.step.errors import UserError
from lib.tasks.task import Predicted, Task


@families.register
@dataclass(frozen=True)
class Fractions(Family):
    """stride: that of its one box map and its one map of scores."""

    name: ClassVar[str] = "fractions"
    title: ClassVar[str] = "fractions of the input's sides"
    c_header: ClassVar[str] = "fractions.h"
    stride: int

    @property
    def strides(self):
        return (self.stride,)

    def maps(self, classes):
        return OutputMap("box", self.stride, 4), OutputMap("scores", self.stride, classes)

    def points(self, imgsz):
        height, width = cells(imgsz, self.stride)
        return height * width

    def decode_maps(self, maps, imgsz):
        box, scores = (values.reshape(values.shape[1], -1).T for values in maps)
        return np.concatenate([box * np.array([*imgsz, *imgsz]), scores], axis=1).astype(np.float32)

    def order_line(self):
        return "n = cell, row by row"

    def contract_lines(self):
        return ["cx = real[0] * width; cy = real[1] * height; w = real[2] * width; h = real[3] * height"]

    def map_meaning(self, output):
        return {"channels": {"0 to 3": "cx, cy, w, h"} if output.role == "box" else {"all": "score"}}

    def limits(self, head):
        return ()

    @classmethod
    def from_contract(cls, shapes, strides, metadata):
        return cls(*strides)


def cut_at(graph):
    """Names of the box map, the map of scores and the map of weights."""
    scaled, scores, weight = map(graph.producer, graph.producer(graph.output).input)
    return graph.producer(scaled.input[0]).input[0], scores.input[0], weight.input[0]


def recognize(graph):
    """By a Concat of a Mul and two Reshapes."""
    joined = graph.producer(graph.outputs[0])
    makers = [graph.producer(name) for name in joined.input]
    if [maker and maker.op_type for maker in makers] != ["Mul", "Reshape", "Reshape"]:
        return None
    box, scores, _ = map(graph.shape, cut_at(graph))
    stride = graph.imgsz.height // box[2]
    weight = OutputMap("weight", stride, 1)
    spec = OutputSpec(graph.imgsz, EXPORTED, Fractions(stride), scores[1], "weighed", end2end=True, extras=(weight,))
    return graph_families.OutputForm(spec)


def rewrite(graph, form):
    outputs = zip(cut_at(graph), form.spec.maps())
    graph.set_outputs({graph.rename(name, output.name): output.shape(form.spec.imgsz) for name, output in outputs})


CUT = Pass("fractions_split", always, rewrite, changed=lambda form: form.with_head(SPLIT))


def passes(form, head):
    if head != SPLIT:
        raise UserError("weights have no place in the head 'single'")
    return (CUT,)


graph_families.register(
    graph_families.GraphFamily(Fractions, recognize, passes, lambda graph, form: {"family": form.spec.family.name})
)


def read_label(path, size, classes):
    """Lines `class x1 y1 x2 y2 weight`, in pixels."""
    rows = np.array([list(map(float, line.split())) for line in path.read_text().splitlines()]).reshape(-1, 6)
    return Instances(rows[:, 1:5], np.ones(len(rows)), rows[:, 0].astype(int), {"weight": rows[:, 5]})


def overlap(instances, others):
    """Smaller by larger weight."""
    first, second = instances.extras["weight"][:, None], others.extras["weight"]
    return np.minimum(first, second) / np.maximum(first, second)


def predict(outputs, raw):
    """Boxes and scores as the family's, and each one's weight."""
    weights = outputs.cell_values(raw, "weight") if outputs.head == SPLIT else outputs.joined_columns(raw)
    return Predicted(outputs.predictions(raw), weights)


def found(outputs, predicted, rows, boxes, fit):
    """Boxes as the detector's, and each one's weight."""
    return replace(boxes, extras={"weight": predicted.columns[rows, 0]})


tasks.register(
    Task(
        name="weighed",
        c_header="weighed.h",
        check_label=lambda path, classes: CheckedLabel(len(read_label(path, None, classes)), 0, None),
        read_label=read_label,
        overlap=overlap,
        coco_iou_type=None,
        draw=lambda *drawn: None,
        contract_lines=lambda outputs: ["weight of n = real[0, n]"],
        predict=predict,
        found=found,
    )
)
