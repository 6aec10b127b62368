"""Detectors with anchors as PyTorch exports them, with random weights, in the forms that people bring."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from lib.data.imgsz import ImageSize
from lib.graph.surgery.graph import Graph

SIZE = ImageSize(128, 64)
# Widths and heights; those of the finest stride first.
ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))


class AnchorHead:
    """A graph in the making, with one map [1, A*(5+C), H, W] a stride, of random weights."""

    def __init__(self, classes: int, anchors=ANCHORS, strides=(8, 16, 32), size=SIZE, activation="Relu"):
        self.size, self.strides, self.classes, self.anchors = size, strides, classes, anchors
        self.rng = np.random.default_rng(0)
        given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size.height, size.width])
        model = helper.make_model(helper.make_graph([], "head", [given], []), ir_version=8)
        model.opset_import[0].version = 13
        self.graph, self.maps = Graph(model), []
        for stride, sizes in zip(strides, anchors):
            stem = self.conv("images", (8, 3, stride, stride), f"stem_{stride}", 1.0, strides=[stride] * 2)
            features = self.graph.add(activation, [stem], f"features_{stride}")
            self.maps.append(self.conv(features, (len(sizes) * (5 + classes), 8, 1, 1), f"m_{stride}"))

    def conv(self, source, shape, name, spread=2.0, **attributes):
        """A convolution of random weights, and its bias."""
        weights = self.rng.normal(0, spread / np.prod(shape[1:]) ** 0.5, shape).astype(np.float32)
        bias = self.rng.normal(0, 0.5, shape[0]).astype(np.float32)
        return self.graph.add("Conv", [source, weights, bias], name, kernel_shape=shape[2:], **attributes)

    def cells(self, place: int) -> tuple[int, int]:
        """Height and width of a stride's map."""
        return self.size.height // self.strides[place], self.size.width // self.strides[place]

    def with_implicit_knowledge(self) -> None:
        """A factor of each channel behind each convolution, as YOLOR and YOLOv7 are trained with."""
        for place, name in enumerate(self.maps):
            factors = self.rng.uniform(0.7, 1.3, (1, self.graph_channels(place), 1, 1)).astype(np.float32)
            self.maps[place] = self.graph.add("Mul", [factors, name], f"{name}/scaled")

    def graph_channels(self, place: int) -> int:
        """The channels of a stride's map."""
        return len(self.anchors[place]) * (5 + self.classes)

    def views(self, name="view") -> list[str]:
        """Each map as [1, A, H, W, 5+C]."""
        made = []
        for place, source in enumerate(self.maps):
            shape = np.array([1, len(self.anchors[place]), 5 + self.classes, *self.cells(place)])
            shaped = self.graph.add("Reshape", [source, shape], f"{source}/{name}/shaped")
            made.append(self.graph.add("Transpose", [shaped], f"{source}/{name}", perm=[0, 1, 3, 4, 2]))
        return made

    def sigmoids(self, names: list[str]) -> list[str]:
        """The sigmoid of each."""
        return [self.graph.add("Sigmoid", [name], f"{name}/sigmoid") for name in names]

    def joined(self, views: list[str], name="output") -> str:
        """[1, N, 5+C] of all strides."""
        rows = [
            self.graph.add("Reshape", [view, np.array([1, -1, 5 + self.classes])], f"{view}/rows") for view in views
        ]
        return self.graph.add("Concat", rows, name, axis=1)

    def apart(self, rows: str, corners: bool) -> list[str]:
        """Of decoded rows the boxes [1, N, 1, 4], or their corners, and scores [1, N, C] times objectness."""
        parts = []
        for first, end in ((0, 2), (2, 4), (4, 5), (5, 5 + self.classes)):
            bounds = (np.array([bound]) for bound in (first, end, 2))
            parts.append(self.graph.add("Slice", [rows, *bounds], f"{rows}/{first}"))
        centre, size, objectness, classes = parts
        if corners:
            half = self._mul(size, 0.5)
            centre, size = (self.graph.add(how, [centre, half], f"corner/{how}") for how in ("Sub", "Add"))
        boxes = self.graph.add("Concat", [centre, size], "both", axis=2)
        boxes = self.graph.add("Reshape", [boxes, np.array([1, -1, 1, 4])], "boxes")
        return [boxes, self.graph.add("Mul", [objectness, classes], "confs")]

    def decoded(self, exponential=False, unit=(1.0, 1.0), scale=2.0) -> list[str]:
        """Each map as boxes in pixels (divided by `unit`) and scores, [1, A, H, W, 5+C]."""
        made = []
        for place, view in enumerate(self.views()):
            stride, (height, width) = self.strides[place], self.cells(place)
            y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
            grid = np.stack([x, y], axis=-1)[None, None].astype(np.float32)
            sizes = np.array(self.anchors[place], np.float32).reshape(1, -1, 1, 1, 2)
            logits, probabilities = self._parts(view), self._parts(self.graph.add("Sigmoid", [view], f"{view}/s"))
            reach, offset = np.float32(scale), np.float32((1 - scale) / 2)
            moved = self.graph.add("Add", [self._mul(probabilities[0], reach), grid + offset], f"{view}/moved")
            centres = self._mul(moved, np.array(stride / np.array(unit), np.float32))
            grown = (
                self._mul(self.graph.add("Exp", [logits[1]], f"{view}/exp"), sizes / np.array(unit, np.float32))
                if exponential
                else self._squares(probabilities[1], sizes / np.array(unit, np.float32))
            )
            made.append(self.graph.add("Concat", [centres, grown, probabilities[2]], f"{view}/decoded", axis=4))
        return made

    def _parts(self, name: str) -> list[str]:
        """xy, wh, and the rest, along the last axis."""
        parts = []
        for first, end in ((0, 2), (2, 4), (4, 5 + self.classes)):
            bounds = (np.array([bound]) for bound in (first, end, 4))
            parts.append(self.graph.add("Slice", [name, *bounds], f"{name}/{first}"))
        return parts

    def _mul(self, name: str, factor) -> str:
        return self.graph.add("Mul", [name, np.asarray(factor, np.float32)], f"{name}/times")

    def _squares(self, name: str, sizes) -> str:
        doubled = self._mul(name, 2.0)
        return self._mul(self.graph.add("Pow", [doubled, np.array(2, np.float32)], f"{doubled}/square"), sizes)

    def finish(self, *outputs: str) -> onnx.ModelProto:
        """The model with these outputs."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        self.graph.model.graph.output.extend(infos)
        return onnx.shape_inference.infer_shapes(self.graph.model)
