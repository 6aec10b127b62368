"""Checks whether red and blue are swapped: a common mistake, which costs accuracy and shows in nothing else."""

from collections.abc import Callable

from lib.accuracy.evaluation import compared
from lib.accuracy.metrics import Metrics
from lib.accuracy.resampled_map import ResampledMap
from lib.data.input_form import InputForm

LEAST = 0.05  # mAP50-95 below which the order of channels is not judged: something else is wrong


def better_channels(
    form: InputForm,
    measured: tuple[Metrics, ResampledMap],
    measure_in: Callable[[InputForm], tuple[Metrics, ResampledMap]],
) -> str | None:
    """One sentence on which order of channels suits a model better; None where the difference is noise, or for grey.

    `measured` is its accuracy with images in `form`; `measure_in` measures it on the same images in another form. The
    difference is noise unless the 95 % interval of the ratio of the two mAP50-95 excludes 1. If both are below
    LEAST, the sentence says so.
    """
    swapped = form.with_channels_swapped()
    if swapped is None:
        return None
    metrics, baseline = measured
    other_metrics, resampled = measure_in(swapped)
    this, other = (order.channels.upper() for order in (form, swapped))
    figures = f"FP32 mAP50-95 {metrics.map50_95:.4f}, in {other} {other_metrics.map50_95:.4f}"
    if max(metrics.map50_95, other_metrics.map50_95) < LEAST:
        return (
            f"WARNING: neither {this} nor {other} detects what the labels show: {figures}; check the form of the input "
            "(channels, scale, mean and std) and the class numbers of the labels"
        )
    share = compared(other_metrics, resampled, baseline)
    low, high = share.retention_low, share.retention_high
    if low is None or high is None or low <= 1 <= high:
        return None
    if high < 1:
        return f"{this} is right: {figures}"
    return f"WARNING: {other} is better than {this}: {figures}; set channels: {swapped.channels}"
