"""From the sections of a .cfg to checked layers with inputs and shapes; no weights are read yet.

Defaults and the arithmetic of sizes follow Darknet: https://github.com/AlexeyAB/darknet (src/parser.c).
Shapes are (channels, height, width).
"""

from pathlib import Path

from lib.data.imgsz import ImageSize, parse_imgsz
from lib.detector.families.anchors import AnchorLayer
from lib.graph.darknet.cfg import Section, read_cfg
from lib.graph.darknet.layers import (
    INPUT,
    Convolutional,
    Dropout,
    Layer,
    Maxpool,
    Network,
    Route,
    Shape,
    Shortcut,
    Upsample,
    Yolo,
)
from lib.step.errors import UserError

ACTIVATIONS = ("linear", "leaky", "relu", "logistic", "swish", "mish")
LARGEST_KERNEL = 63


def read_network(path: Path, imgsz: ImageSize | None = None) -> Network:
    """The network in the .cfg `path` for `imgsz` (default: the width and height in the file).

    Raises UserError, naming file, line and layer, for an unknown kind or option, a number that makes no sense, shapes
    that do not fit, or a network without [yolo].
    """
    net, *sections = read_cfg(path)
    if (channels := net.integer("channels", 3)) != 3:
        raise net.error(f"{channels} channels; only 3 are supported")
    if imgsz is None:
        imgsz = _size(net)
    image = (channels, imgsz.height, imgsz.width)
    layers: list[Layer] = []
    for section in sections:
        if section.kind not in _KINDS:
            raise section.error(f"this kind of layer is not supported (supported: {', '.join(_KINDS)})")
        layer = _KINDS[section.kind](section, layers, image)
        _check_options(section)
        if any(cells > side for cells, side in zip(layer.shape[1:], image[1:])):
            raise section.error(f"its output {_spell(layer.shape)} is larger than the image {_spell(image)}")
        layers.append(layer)
    network = Network(path, imgsz, tuple(layers))
    classes = {layer.classes for layer in network.heads}
    if len(classes) != 1:
        heads = f"[yolo] layers of {sorted(classes)} classes" if classes else "no [yolo] layer"
        raise UserError(f"{path} has {heads}; a detector with one number of classes is expected")
    strides = [layer.head.stride for layer in network.heads]
    if len(set(strides)) < len(strides):
        raise UserError(f"{path} has two [yolo] layers of one stride ({strides}); each is expected to have its own")
    return network


def _size(net: Section) -> ImageSize:
    """Width and height in [net]."""
    text = f"{net.integer('width')}x{net.integer('height')}"
    try:
        return parse_imgsz(text)
    except UserError as error:
        raise net.error(f"{error}; choose another with --imgsz") from None


def _convolutional(section: Section, layers: list[Layer], image: Shape) -> Convolutional:
    source, (channels, height, width) = _previous(layers, image)
    filters = section.integer("filters", 1, least=1)
    size = section.integer("size", 1, least=1, most=LARGEST_KERNEL)
    stride = section.integer("stride", 1, least=1)
    padding = section.integer("padding", 0, most=LARGEST_KERNEL)
    if section.integer("pad", 0):
        padding = size // 2
    groups = section.integer("groups", 1, least=1)
    if channels % groups or filters % groups:
        raise section.error(f"groups={groups} does not divide both {channels} input channels and {filters} filters")
    shape = (filters, *(_steps(section, cells, size, stride, 2 * padding) for cells in (height, width)))
    normalized = bool(section.integer("batch_normalize", 0))
    return Convolutional(
        section, (source,), shape, channels, size, stride, padding, groups, normalized, _activation(section, "logistic")
    )


def _maxpool(section: Section, layers: list[Layer], image: Shape) -> Maxpool:
    source, (channels, height, width) = _previous(layers, image)
    stride = section.integer("stride", 1, least=1)
    size = section.integer("size", stride, least=1, most=LARGEST_KERNEL)
    padding = section.integer("padding", size - 1, most=2 * size - 2)
    shape = (channels, *(_steps(section, cells, size, stride, padding) for cells in (height, width)))
    return Maxpool(section, (source,), shape, size, stride, padding)


def _upsample(section: Section, layers: list[Layer], image: Shape) -> Upsample:
    source, (channels, height, width) = _previous(layers, image)
    stride = section.integer("stride", 2, least=1)
    return Upsample(section, (source,), (channels, height * stride, width * stride), stride)


def _route(section: Section, layers: list[Layer], image: Shape) -> Route:
    sources = tuple(_numbered(section, number, layers) for number in section.integers("layers"))
    groups = section.integer("groups", 1, least=1)
    group_id = section.integer("group_id", 0, most=groups - 1)
    shapes = [layers[source].shape for source in sources]
    if len({shape[1:] for shape in shapes}) != 1 or any(shape[0] % groups for shape in shapes):
        listed = ", ".join(map(_spell, shapes))
        raise section.error(f"outputs of {listed} cannot be joined in {groups} group{'s' * (groups > 1)}")
    channels = tuple(shape[0] for shape in shapes)
    return Route(section, sources, (sum(channels) // groups, *shapes[0][1:]), channels, groups, group_id)


def _shortcut(section: Section, layers: list[Layer], image: Shape) -> Shortcut:
    source, shape = _previous(layers, image)
    sources = (source, *(_numbered(section, number, layers) for number in section.integers("from")))
    others = [layers[source].shape for source in sources[1:]]
    # Darknet's versions disagree about maps of other sizes, not about maps with more or fewer channels.
    if any(other[1:] != shape[1:] for other in others):
        raise section.error(f"{_spell(shape)} cannot be added to {', '.join(map(_spell, others))}")
    channels = tuple(other[0] for other in others)
    return Shortcut(section, sources, shape, channels, _activation(section, "linear"))


def _dropout(section: Section, layers: list[Layer], image: Shape) -> Dropout:
    source, shape = _previous(layers, image)
    return Dropout(section, (source,), shape)


def _yolo(section: Section, layers: list[Layer], image: Shape) -> Yolo:
    source, (channels, height, width) = _previous(layers, image)
    anchors = section.numbers("anchors")
    count = section.integer("num", len(anchors) // 2, least=1)
    if len(anchors) != 2 * count or min(anchors) <= 0:
        raise section.error(f"{count} anchors of a width and a height above 0 are expected, not {anchors}")
    mask = section.integers("mask") if "mask" in section.options else list(range(count))
    if not all(0 <= number < count for number in mask) or len(set(mask)) < len(mask):
        raise section.error(f"mask {mask} has anchors outside 0..{count - 1}, or one twice")
    classes = section.integer("classes", 20, least=1)
    if channels != len(mask) * (5 + classes):
        raise section.error(
            f"{len(mask)} anchors and {classes} classes need {len(mask) * (5 + classes)} channels, but the layer "
            f"before has {channels} (filters = anchors * (5 + classes))"
        )
    stride = image[1] // height
    if (height * stride, width * stride) != image[1:]:
        raise section.error(f"{_spell((channels, height, width))} does not divide the image {_spell(image)} evenly")
    new_coords = bool(section.integer("new_coords", 0))
    before = layers[source] if source != INPUT else None
    expected = "logistic" if new_coords else "linear"
    if not isinstance(before, Convolutional) or before.groups != 1 or before.activation != expected:
        raise section.error(
            f"with new_coords={int(new_coords)} an ungrouped [convolutional] with activation={expected} "
            "is expected before it"
        )
    used = tuple((anchors[2 * number], anchors[2 * number + 1]) for number in mask)
    head = AnchorLayer(stride, used, section.number("scale_x_y", 1.0), new_coords)
    return Yolo(section, (source,), (channels, height, width), head, classes)


_KINDS = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "dropout": _dropout,
    "yolo": _yolo,
}

# Options that change what a layer computes, and the only value with which they do not.
_NEUTRAL = {
    "antialiasing": "0",
    "bin_output": "0",
    "binary": "0",
    "cbn": "0",
    "coordconv": "0",
    "dilation": "1",
    "flipped": "0",
    "maxpool_depth": "0",
    "rotate": "0",
    "scale": "1",
    "stretch": "0",
    "stretch_sway": "0",
    "sway": "0",
    "weights_type": "none",
    "xnor": "0",
}

# Options that only training reads, or that choose a GPU stream.
_TRAINING = frozenset(
    """
    absolute angle assisted_excitation beta_nms burnin_update cls_normalizer counters_per_class delta_normalizer
    dontload dontloadscales dot dropblock dropblock_size_abs dropblock_size_rel focal_loss grad_centr
    ignore_thresh iou_loss iou_normalizer iou_thresh iou_thresh_kind jitter label_smooth_eps learning_rate
    learning_scale lr map max max_delta nms_kind obj_normalizer objectness_smooth probability random resize
    reverse show_details stopbackward stream train_only_bn truth_thresh uc_normalizer use_bin_output wait_stream
    weights_normalization
    """.split()  # noqa: SIM905 - a word list
)


def _check_options(section: Section) -> None:
    """Raise UserError for an option that would have an effect but is not supported."""
    for name in sorted(set(section.options) - section.read - _TRAINING):
        value = section.options[name]
        if name not in _NEUTRAL:
            raise section.error(f"option '{name}' is unknown; correct it, or delete it if only training uses it")
        if value != _NEUTRAL[name]:
            raise section.error(f"{name}={value} is not supported")


def _previous(layers: list[Layer], image: Shape) -> tuple[int, Shape]:
    """Number and shape of the layer that the next layer reads by default."""
    return (len(layers) - 1, layers[-1].shape) if layers else (INPUT, image)


def _numbered(section: Section, number: int, layers: list[Layer]) -> int:
    """A layer's number; negative ones count back from the current layer."""
    position = number + len(layers) if number < 0 else number
    if not 0 <= position < len(layers):
        raise section.error(f"layer {number} does not exist; {len(layers)} layers come before this section")
    return position


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise section.error(f"activation '{name}' is not supported (supported: {', '.join(ACTIVATIONS)})")
    return name


def _steps(section: Section, cells: int, size: int, stride: int, padding: int) -> int:
    """The number of positions of a window of `size` in `cells` plus `padding`, moved by `stride`."""
    if cells + padding < size:
        raise section.error(f"its window of {size} does not fit in {cells} cells with padding {padding}")
    return (cells + padding - size) // stride + 1


def _spell(shape: Shape) -> str:
    """A shape as text, such as `255x10x10`: channels, height, width."""
    return "x".join(map(str, shape))
