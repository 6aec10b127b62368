"""Draws of a calibration set, and the accuracy in INT8 that each one led to."""

from dataclasses import dataclass

from lib.step.typed_json import JsonRecord


@dataclass(frozen=True)
class Draw(JsonRecord):
    """A calibration set by its size and the seed of its draw, and its INT8 mAP50-95, of a classifier top-1 (0..1)."""

    max_images: int
    seed: int
    accuracy_int8: float


@dataclass(frozen=True)
class Draws(JsonRecord):
    """The draws for one variant, by size and seed."""

    draws: tuple[Draw, ...]
