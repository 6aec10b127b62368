"""The layers of a Darknet network, with their inputs and shapes. Shapes are (channels, height, width)."""

from dataclasses import dataclass
from pathlib import Path

from lib.data.imgsz import ImageSize
from lib.detector.families.anchors import AnchorLayer, Anchors
from lib.graph.darknet.cfg import Section

Shape = tuple[int, int, int]
INPUT = -1  # stands for the image in place of a layer's number


@dataclass(frozen=True)
class Layer:
    """A layer: its section, the numbers of the layers that it reads (INPUT is the image), its output's shape."""

    section: Section
    sources: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True)
class Convolutional(Layer):
    """`shape[0]` filters of size x size, stepped by `stride`, with `padding` zeros on each side."""

    channels: int
    size: int
    stride: int
    padding: int
    groups: int
    batch_normalize: bool
    activation: str

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        """Shape of its weights: [filters, channels per group, size, size]."""
        return self.shape[0], self.channels // self.groups, self.size, self.size


@dataclass(frozen=True)
class Maxpool(Layer):
    """The maximum of size x size cells; `padding` cells (never the maximum) in all, the smaller half left and above."""

    size: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Upsample(Layer):
    """Every cell repeated `stride` times in both directions."""

    stride: int


@dataclass(frozen=True)
class Route(Layer):
    """The channels of its sources, joined; of each source only part `group_id` of `groups`."""

    channels: tuple[int, ...]
    groups: int
    group_id: int


@dataclass(frozen=True)
class Shortcut(Layer):
    """The sum of its sources; `channels` are those of all but the first, which decides how many the sum has."""

    channels: tuple[int, ...]
    activation: str


@dataclass(frozen=True)
class Dropout(Layer):
    """Does nothing at inference."""


@dataclass(frozen=True)
class Yolo(Layer):
    """A detection head on the maps of its source."""

    head: AnchorLayer
    classes: int


@dataclass(frozen=True)
class Network:
    """A whole .cfg for one image size."""

    path: Path
    imgsz: ImageSize
    layers: tuple[Layer, ...]

    @property
    def heads(self) -> tuple[Yolo, ...]:
        """The [yolo] layers, in their order; at least one."""
        return tuple(layer for layer in self.layers if isinstance(layer, Yolo))

    @property
    def family(self) -> Anchors:
        """The family with the options of the [yolo] layers, for decoding."""
        return Anchors(tuple(layer.head for layer in self.heads))

    @property
    def classes(self) -> int:
        """The number of classes, which all [yolo] layers share."""
        return self.heads[0].classes
