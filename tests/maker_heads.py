"""Detectors of other makers than Ultralytics, with random weights, in the forms that people export them in."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from lib.data.imgsz import ImageSize
from lib.graph.surgery.graph import Graph

SIZE, STRIDES = ImageSize(96, 64), (8, 16, 32)


class Head:
    """A graph in the making, with a box map, an objectness and scores of each stride, of random weights."""

    def __init__(self, classes: int, sigmoids: bool = True, size: ImageSize = SIZE, strides=STRIDES):
        self.size, self.strides, self.classes = size, strides, classes
        self.rng = np.random.default_rng(0)
        given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size.height, size.width])
        model = helper.make_model(helper.make_graph([], "head", [given], []), ir_version=8)
        model.opset_import[0].version = 13
        self.graph = Graph(model)
        self.maps = []
        for stride in strides:
            stem = self.conv("images", (8, 3, stride, stride), f"stem_{stride}", spread=1 / 255, strides=[stride] * 2)
            features = self.graph.add("Relu", [stem], f"features_{stride}")
            box = self.conv(features, (4, 8, 1, 1), f"first_{stride}")
            others = [
                self.conv(features, (n, 8, 1, 1), f"{name}_{stride}") for name, n in (("second", 1), ("third", classes))
            ]
            if sigmoids:
                others = [self.graph.add("Sigmoid", [name], f"{name}/{place}") for place, name in enumerate(others)]
            self.maps.append((box, *others))

    def conv(self, source, shape, name, spread=1.0, **attributes):
        """A convolution of random weights, and its bias."""
        weights = self.rng.normal(0, spread / np.prod(shape[1:]) ** 0.5, shape).astype(np.float32)
        bias = self.rng.normal(0, 0.5, shape[0]).astype(np.float32)
        return self.graph.add("Conv", [source, weights, bias], name, kernel_shape=shape[2:], **attributes)

    def joined(self, order=(0, 1, 2)) -> list[str]:
        """A map [1, 5+C, H, W] of each stride."""
        return [
            self.graph.add("Concat", [level[place] for place in order], f"joined_{level[0]}", axis=1)
            for level in self.maps
        ]

    def columns(self) -> str:
        """All strides' cells side by side, [1, 5+C, N]."""
        flat = [
            self.graph.add("Reshape", [name, np.array([1, 5 + self.classes, -1])], f"{name}/flat")
            for name in self.joined()
        ]
        return self.graph.add("Concat", flat, "columns", axis=2)

    def rows(self, name: str = "rows") -> str:
        """[1, N, 5+C], as YOLOX's export_onnx.py leaves it."""
        return self.graph.add("Transpose", [self.columns()], name, perm=[0, 2, 1])

    def decoded(self) -> str:
        """[1, N, 5+C] in pixels: --decode_in_inference."""
        rows, parts = self.rows(), []
        for first, end in ((0, 2), (2, 4), (4, 5 + self.classes)):
            bounds = (np.array([bound]) for bound in (first, end, 2))
            parts.append(self.graph.add("Slice", [rows, *bounds], f"part_{first}"))
        cells, strides = grid(self.size, self.strides)
        shifted = self.graph.add("Add", [parts[0], cells[None]], "shifted")
        grown = self.graph.add("Exp", [parts[1]], "grown")
        pixels = [self.graph.add("Mul", [name, strides[None]], f"{name}/pixels") for name in (shifted, grown)]
        return self.graph.add("Concat", [*pixels, parts[2]], "decoded", axis=2)

    def finish(self, *outputs: str) -> onnx.ModelProto:
        """The model with these outputs."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        self.graph.model.graph.output.extend(infos)
        return onnx.shape_inference.infer_shapes(self.graph.model)


def grid(size, strides=STRIDES):
    """Columns and rows of all cells, float32 [N, 2], and their strides, [N, 1]."""
    cells, of_cell = [], []
    for stride in strides:
        height, width = -(-size.height // stride), -(-size.width // stride)
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        of_cell.append(np.full((height * width, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(of_cell).astype(np.float32)
