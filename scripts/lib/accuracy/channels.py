"""Red and blue in each other's place: a classic, which costs accuracy and leaves everything else as it was."""

from collections.abc import Callable

from lib.accuracy.evaluation import compared
from lib.accuracy.metrics import Metrics
from lib.accuracy.resampled_map import ResampledMap
from lib.data.input_form import InputForm


def better_channels(
    form: InputForm,
    measured: tuple[Metrics, ResampledMap],
    measure_in: Callable[[InputForm], tuple[Metrics, ResampledMap]],
) -> str | None:
    """The order of channels that suits a model better, in a sentence; None where the difference is noise, or in grey.

    `measured` is what it reaches with images in `form`, and `measure_in` measures it on the same images in another one.
    More than noise: the 95 % interval of the other order's share of the mAP50-95 does not hold 1.
    """
    swapped = form.with_channels_swapped()
    if swapped is None:
        return None
    metrics, baseline = measured
    other_metrics, resampled = measure_in(swapped)
    share = compared(other_metrics, resampled, baseline)
    low, high = share.retention_low, share.retention_high
    if low is None or high is None or low <= 1 <= high:
        return None
    this, other = (order.channels.upper() for order in (form, swapped))
    figures = f"FP32 mAP50-95 {metrics.map50_95:.4f}, in {other} {other_metrics.map50_95:.4f}"
    if high < 1:
        return f"{this} is right: {figures}"
    return f"WARNING: {other} is better than {this}: {figures}; say so with channels: {swapped.channels}"
