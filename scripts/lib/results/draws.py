"""Draws of a calibration set, and the mAP that each gave in INT8."""

from dataclasses import dataclass

from lib.step.typed_json import JsonRecord


@dataclass(frozen=True)
class Draw(JsonRecord):
    """A calibration set by its size and the seed of its draw, and the mAP50-95 (0..1) that it gave in INT8."""

    max_images: int
    seed: int
    map50_95_int8: float


@dataclass(frozen=True)
class Draws(JsonRecord):
    """Those of one variant, by size and seed."""

    draws: tuple[Draw, ...]
