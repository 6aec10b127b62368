"""What a model expects as input: the order and range of its channels, and how an image is fitted into its input.

This is a convention of whoever trained the model, and it cannot be read from the graph; one that differs from the
default is stored in an entry of the ONNX's metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np

from lib.step.errors import UserError
from lib.step.typed_json import JsonRecord, from_metadata

METADATA_KEY = "rv1106.input"  # of an ONNX's metadata, which holds an InputForm as JSON
PIXELS = ("channels", "scale", "mean", "std")  # fields of an InputForm that say how pixel values are changed
GREY = 114  # Ultralytics' grey around an image

Channels = Literal["rgb", "bgr", "grey"]
Scale = Literal[255, 1]
Place = Literal["centre", "top_left", "stretch", "crop"]

_PLACES = {
    "centre": "letterboxed in the middle",
    "top_left": "letterboxed at the top left",
    "stretch": "stretched",
    "crop": "cropped in the middle",
}


@dataclass(frozen=True)
class InputForm(JsonRecord):
    """How an image becomes the network's input: `(pixel / scale - mean) / std`, per channel.

    channels: their order; `grey` is a single channel. scale: pixels 0..255 are first divided by it. mean, std: one
    value per channel in the network's order, or one for all (equal values are stored as one). letterbox: where the
    image is placed in the input with its proportions kept; or `stretch`, which fills the input; or `crop`, which fills
    it with the middle of the image. fill: the grey around it, 0..255. The default is the form of Ultralytics' models.
    """

    channels: Channels = "rgb"
    scale: Scale = 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    letterbox: Place = "centre"
    fill: int = GREY

    def __post_init__(self):
        for name, kind in (("channels", Channels), ("scale", Scale), ("letterbox", Place)):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(map(str, get_args(kind)))
                raise ValueError(f"{name} of an input is '{getattr(self, name)}', not one of {known}")
        for name in ("mean", "std"):
            values = tuple(map(float, getattr(self, name)))
            if len(values) not in (1, self.depth):
                raise ValueError(
                    f"{name} of an input has {len(values)} values; {self.channels} needs {self.depth}, or one for all"
                )
            if not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
                raise ValueError(
                    f"{name} of an input is {values}; finite numbers are expected, and for std numbers above 0"
                )
            object.__setattr__(self, name, values[:1] if len(set(values)) == 1 else values)
        if not 0 <= self.fill <= 255:
            raise ValueError(f"fill of an input is {self.fill}, not 0 to 255")

    @property
    def depth(self) -> int:
        """Number of channels."""
        return 1 if self.channels == "grey" else 3

    @property
    def has_border(self) -> bool:
        """Whether there may be `fill` around an image."""
        return self.letterbox not in ("stretch", "crop")

    @property
    def is_default_fit(self) -> bool:
        """Whether images are fitted as in the default form, however their pixel values are then changed."""
        return (self.channels, self.letterbox, self.fill) == ("rgb", "centre", GREY)

    @property
    def fitting(self) -> str:
        """Channels and placement in words."""
        place = "letterboxed" if self.letterbox == "centre" else _PLACES[self.letterbox]
        fill = f" on {self.fill}" if self.has_border and self.fill != GREY else ""
        return f"{self._channels_word}, {place}{fill}"

    @property
    def _channels_word(self) -> str:
        return self.channels if self.channels == "grey" else self.channels.upper()

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """What is subtracted from pixels 0..255, per channel: the network sees `(pixel - pixel_mean) / pixel_std`."""
        return self._by_channel(mean * self.scale for mean in self.mean)

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """What pixels 0..255, less `pixel_mean`, are divided by, per channel."""
        return self._by_channel(std * self.scale for std in self.std)

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels uint8 [..., H, W, channels in the network's order] as the float32 values that the network sees.

        They are the toolkit's own to the last bit: it computes in float64, which the default form does not need.
        """
        if (self.mean, self.std) == ((0.0,), (1.0,)):
            return pixels.astype(np.float32) / np.float32(self.scale)
        return ((pixels - np.array(self.pixel_mean)) / np.array(self.pixel_std)).astype(np.float32)

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, channels in the network's order] as the network's input tensor: float32 [1, C, H, W]."""
        return np.ascontiguousarray(self.normalized(image).transpose(2, 0, 1)[None])

    def with_channels_swapped(self) -> "InputForm | None":
        """The form with red and blue swapped, None for grey; mean and std are not swapped."""
        swapped = {"rgb": "bgr", "bgr": "rgb"}.get(self.channels)
        return replace(self, channels=swapped) if swapped else None

    def with_changes(self, changes: Mapping) -> "InputForm":
        """The form with some fields replaced. Raises UserError when the result is not a valid form."""
        known = [field.name for field in fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise UserError(f"an input has no {', '.join(unknown)}; it has {', '.join(known)}")
        try:
            return replace(self, **changes)
        except ValueError as error:
            raise UserError(str(error)) from None

    def __str__(self) -> str:
        """The form in words."""
        words = [self._channels_word]
        words.append("pixels 0 to 1" if self.scale == 255 else "pixels 0 to 255")
        if self.mean != (0.0,) or self.std != (1.0,):
            words.append(f"mean {_numbers(self.mean)}, std {_numbers(self.std)}")
        words.append(_PLACES[self.letterbox])
        if self.fill != GREY and self.has_border:
            words.append(f"on {self.fill}")
        return ", ".join(words)

    def to_metadata(self) -> dict[str, str]:
        """The form as entries of an ONNX's metadata; none for the default."""
        return {} if self == InputForm() else {METADATA_KEY: json.dumps(self.to_json())}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> "InputForm | None":
        """The form that an ONNX's metadata holds, or None. Raises UserError when it is damaged."""
        return from_metadata(cls, metadata, METADATA_KEY)

    def _by_channel(self, values) -> tuple[float, ...]:
        values = tuple(values)
        return values * self.depth if len(values) == 1 else values


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
