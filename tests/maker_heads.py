"""Detectors of other makers than Ultralytics, with random weights, in the forms that people export them in."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from lib.data.imgsz import ImageSize
from lib.graph.surgery.graph import Graph

SIZE, STRIDES = ImageSize(96, 64), (8, 16, 32)


class Layers:
    """A graph in the making: convolutions of random weights behind an image."""

    def __init__(self, size: ImageSize):
        self.size, self.rng = size, np.random.default_rng(0)
        given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size.height, size.width])
        model = helper.make_model(helper.make_graph([], "head", [given], []), ir_version=8)
        model.opset_import[0].version = 14
        self.graph = Graph(model)

    def conv(self, source, shape, name, spread=1.0, **attributes):
        """A convolution of random weights, and its bias."""
        weights = self.rng.normal(0, spread / np.prod(shape[1:]) ** 0.5, shape).astype(np.float32)
        bias = self.rng.normal(0, 0.5, shape[0]).astype(np.float32)
        return self.graph.add("Conv", [source, weights, bias], name, kernel_shape=shape[2:], **attributes)

    def finish(self, *outputs: str) -> onnx.ModelProto:
        """The model with these outputs."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        self.graph.model.graph.output.extend(infos)
        return onnx.shape_inference.infer_shapes(self.graph.model)


class Head(Layers):
    """A graph in the making, with a box map, an objectness and scores of each stride, of random weights."""

    def __init__(self, classes: int, sigmoids: bool = True, size: ImageSize = SIZE, strides=STRIDES, stem=1 / 255):
        super().__init__(size)
        self.strides, self.classes = strides, classes
        self.maps = []
        for stride in strides:
            first = self.conv("images", (8, 3, stride, stride), f"stem_{stride}", spread=stem, strides=[stride] * 2)
            features = self.graph.add("Relu", [first], f"features_{stride}")
            box = self.conv(features, (4, 8, 1, 1), f"first_{stride}")
            others = [
                self.conv(features, (n, 8, 1, 1), f"{name}_{stride}") for name, n in (("second", 1), ("third", classes))
            ]
            if sigmoids:
                others = [self.graph.add("Sigmoid", [name], f"{name}/{place}") for place, name in enumerate(others)]
            self.maps.append((box, *others))

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


def grid(size, strides=STRIDES):
    """Columns and rows of all cells, float32 [N, 2], and their strides, [N, 1]."""
    cells, of_cell = [], []
    for stride in strides:
        height, width = cells_of(size, stride)
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        of_cell.append(np.full((height * width, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(of_cell).astype(np.float32)


def cells_of(size: ImageSize, stride: int) -> tuple[int, int]:
    """Height and width of the maps of a stride."""
    return -(-size.height // stride), -(-size.width // stride)


class GflHead(Layers):
    """A graph in the making, with scores and the logits of bins of each stride, of random weights."""

    bins = 8

    def __init__(self, classes, strides=STRIDES, one_convolution=False, sigmoid=True, activation="Relu"):
        super().__init__(SIZE)
        self.classes, self.strides = classes, strides
        self.levels, channels = [], 4 * self.bins
        for stride in strides:
            pads = [0, 0, *(count * stride - side for count, side in zip(cells_of(SIZE, stride), SIZE[::-1]))]
            stem = self.conv(
                "images", (8, 3, stride, stride), f"stem_{stride}", spread=1 / 2, strides=[stride] * 2, pads=pads
            )
            features = self.graph.add(activation, [stem], f"features_{stride}")
            scores, logits = f"class_{stride}", f"logits_{stride}"
            if one_convolution:
                both = self.conv(features, (classes + channels, 8, 1, 1), f"both_{stride}")
                sizes = onnx.numpy_helper.from_array(np.array([classes, channels]), f"sizes_{stride}")
                self.graph.model.graph.initializer.append(sizes)
                node = helper.make_node("Split", [both, sizes.name], [scores, logits], axis=1)
                self.graph.model.graph.node.append(node)
            else:
                self.conv(features, (classes, 8, 1, 1), scores)
                self.conv(features, (channels, 8, 1, 1), logits)
            if sigmoid:
                scores = self.graph.add("Sigmoid", [scores], f"{scores}/probability")
            self.levels.append((scores, classes, logits, channels))

    def maps_as_outputs(self) -> list[str]:
        """The maps as they are, of which no convolution's own name is an output."""
        return [
            self.graph.add("Identity", [name], f"{name}/out") for level in self.levels for name in (level[0], level[2])
        ]

    def flattened(self, rank: int) -> list[str]:
        """[H*W, K] or [1, H*W, K] of each map."""
        outputs = []
        for scores, classes, logits, channels in self.levels:
            for name, count in ((scores, classes), (logits, channels)):
                shape, order = ([count, -1], [1, 0]) if rank == 2 else ([1, count, -1], [0, 2, 1])
                flat = self.graph.add("Reshape", [name, np.array(shape)], f"{name}/flat")
                outputs.append(self.graph.add("Transpose", [flat], f"{name}/rows", perm=order))
        return outputs

    def rows(self) -> str:
        """[1, N, C+4*R], as NanoDet's own export."""
        columns = []
        for scores, classes, logits, channels in self.levels:
            both = self.graph.add("Concat", [scores, logits], f"{scores}/joined", axis=1)
            shape = np.array([1, classes + channels, -1])
            columns.append(self.graph.add("Reshape", [both, shape], f"{scores}/columns"))
        self.graph.add("Concat", columns, "columns", axis=2)
        return self.graph.add("Transpose", ["columns"], "rows", perm=[0, 2, 1])


class SharedHead(Layers):
    """A graph in the making, with boxes of three anchors and one softmax of scores a cell, as Yolo-FastestV2 has."""

    anchors = 3

    def __init__(self, classes: int, strides=(16, 32)):
        super().__init__(SIZE)
        self.strides, self.classes = strides, classes

    def maps(self, channels_last: bool = True) -> list[str]:
        """[1, H, W, 5A+C] of each stride, or [1, 5A+C, H, W]."""
        return [self.output(stride, channels_last) for stride in self.strides]

    def training_maps(self) -> list[str]:
        """The maps of each stride before sigmoid and softmax."""
        return [name for stride in self.strides for name in self.convolutions(stride)]

    def convolutions(self, stride: int) -> list[str]:
        """Box, objectness and scores of one stride."""
        stem = self.conv("images", (8, 3, stride, stride), f"stem_{stride}", spread=1 / 20, strides=[stride] * 2)
        features = self.graph.add("Relu", [stem], f"features_{stride}")
        return [
            self.conv(features, (count, 8, 1, 1), f"{name}_{stride}")
            for name, count in (("first", 4 * self.anchors), ("second", self.anchors), ("third", self.classes))
        ]

    def output(self, stride: int, channels_last: bool) -> str:
        """The output of one stride."""
        add = self.graph.add
        box, objectness, scores = self.convolutions(stride)
        # torch exports a softmax over axis 1 so before opset 13: columns and channels change places.
        turned = add("Transpose", [scores], f"{scores}/turned", perm=[0, 3, 2, 1])
        softmax = add("Softmax", [turned], f"{scores}/softmax", axis=3)
        parts = [add("Sigmoid", [name], f"{name}/sigmoid") for name in (box, objectness)]
        parts.append(add("Transpose", [softmax], f"{scores}/back", perm=[0, 3, 2, 1]))
        joined = add("Concat", parts, f"joined_{stride}", axis=1)
        return add("Transpose", [joined], f"rows_{stride}", perm=[0, 2, 3, 1]) if channels_last else joined
