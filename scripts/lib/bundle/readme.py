"""Makes README.md of a bundle, for the engineer who programs the board."""

from string import Template

import numpy as np

from lib import tasks
from lib.bundle import HERE, headers
from lib.bundle.c_names import c_prefix
from lib.bundle.contract import PREDICTIONS, Contract, Proof
from lib.data.input_form import InputForm
from lib.detector import families
from lib.detector.nms import CONFIDENCE
from lib.npu.highest_scores import LOW
from lib.npu.rknn_file import RknnTensor, dequantize
from lib.npu.verdict import Verdict
from lib.results.rounding import MAP_DIGITS
from lib.step.typed_json import to_json
from lib.tasks.bundle_part import DETECTORS_README

_SCORED = (PREDICTIONS, "scores", "objectness")  # roles of outputs that a threshold applies to
_NO_NMS = (
    " The model's head is one-to-one: it predicts each object once, so there is no NMS, and `RV1106_MODEL_IOU` is "
    "ignored."
)

_NOTHING_SHOWN = (
    "\n\n**`golden/detections.txt` is empty.** No evaluation image has a detection above the suggested threshold, so "
    "this comparison\nonly shows that the decoder detects nothing there either. A lower threshold, as in "
    "`./a.out golden 0.01`, prints what it decodes."
)

LISTED = 20  # names of classes
_WRONG_COLOURS = {"rgb": "BGR instead of RGB", "bgr": "RGB instead of BGR", "grey": "three channels instead of one"}


def _place(form: InputForm) -> str:
    if form.letterbox == "stretch":
        return "it fills the input, stretched by `fit.scale` across and `fit.scale_y` down."
    if form.letterbox == "crop":
        return "its middle fills the input, scaled by `fit.scale`; `fit.left` and `fit.top` are 0 or negative."
    return f"`fit.left`, `fit.top`, `fit.scale`; the rest of the input is grey, {form.fill}."


def readme(
    contract: Contract, highest: dict[int, float] | None = None, golden_image: str = "WIDTHxHEIGHT", shown: int = 1
) -> str:
    """Return the text of README.md for a contract that has a proof.

    highest: from lib.npu.highest_scores. golden_image: size of the golden image before its letterbox. shown: its
    detections above the suggested threshold.
    """
    accuracy, proof, spec = to_json(contract.accuracy), contract.proof, contract.output_spec()
    part = tasks.get(spec.task).bundle
    template = HERE / (part.readme if part else DETECTORS_README)
    return Template(template.read_text(encoding="utf-8")).substitute(
        to_json(contract.thresholds) | {"iou": "none" if contract.end2end else contract.thresholds.iou},
        **{name: f"{value:.{MAP_DIGITS}f}" for name, value in accuracy.items() if name.startswith(("map", "top"))},
        images=contract.accuracy.images,
        classes=_classes(contract.classes),
        golden_image=golden_image,
        title=contract.variant.title(),
        platform=contract.platform,
        toolkit=contract.toolkit,
        input_name=contract.input.name,
        width=contract.input.width,
        height=contract.input.height,
        place=_place(contract.input.form),
        colours=contract.input.colour_order if contract.input.form.depth > 1 else "one channel of grey",
        wrong_colours=_WRONG_COLOURS[contract.input.form.channels],
        outputs=_outputs(contract),
        scores=_scores(highest or {}),
        family_name=contract.family,
        family=families.get(contract.family).title,
        headers=", ".join(f"`{name}`" for name in headers(spec)),
        prefix=c_prefix(contract.variant),
        macros=c_prefix(contract.variant).upper(),
        nms=_NO_NMS if contract.end2end else "",
        task=f"\n\n{part.usage(spec)}" if part else "",
        and_task=" and task" if part else "",
        verdict=_verdict(contract.verdict),
        proof=_proof(proof, part.unit if part else ""),
        nothing_shown="" if shown else _NOTHING_SHOWN,
        held_out=" that were not used for calibration" if contract.accuracy.part == "heldout" else "",
    )


def _classes(names: tuple[str, ...]) -> str:
    """The class names; of many only the first LISTED."""
    more = f" and {len(names) - LISTED} more, in `model.json`" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _scores(highest: dict[int, float]) -> str:
    """A paragraph on the highest score of each stride; empty if they are not known."""
    if not highest:
        return ""
    known = ", ".join(f"{most:.2f} at stride {stride}" for stride, most in highest.items())
    low = min(highest.values()) < LOW
    warning = " **With a threshold above that, the stride detects nothing.**" if low else ""
    return f"\n\nThe highest score that the model can report, by its scales, is {known}.{warning}"


def _outputs(contract: Contract) -> str:
    """The outputs as a Markdown table; the column of the threshold only where one applies to an output."""
    confidence = contract.thresholds.confidence
    limit = [str(confidence)] if set(contract.roles()) & set(_SCORED) else []
    title = ["#", "name", "logical shape", "in memory", "padding", "bytes", "scale", "zero point", *limit, "channels"]
    rows = [title, ["---"] * len(title)]
    for output, role in zip(contract.outputs, contract.roles()):
        channels = "; ".join(f"{which}: {what}" for which, what in output.channels.items())
        rows.append(
            [
                output.index,
                f"`{output.name}`",
                list(output.shape),
                f"{output.layout} {list(output.native_shape)}",
                output.padding_channels,
                output.bytes,
                f"{output.scale:.9g}",
                output.zero_point,
                *(_stored_limit(output.tensor(), confidence) if role in _SCORED else "" for _ in limit),
                channels,
            ]
        )
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _stored_limit(output: RknnTensor, threshold: float) -> int | str:
    """The largest stored byte whose value is not above `threshold`."""
    stored = np.arange(-128, 128)
    below = stored[dequantize(stored, output) <= np.float32(threshold)]
    return int(below[-1]) if len(below) else "all are above"


def _proof(proof: Proof, unit: str) -> str:
    """What the proof compared; `unit` is that of the task's values, or empty."""
    if not proof.detections:
        return (
            f"**This is not proven.** On {proof.images} images, neither `decode.h` on the raw bytes nor Python on the "
            f"simulator's\nfloats detects anything above a score of {CONFIDENCE}, the threshold that mAP is measured "
            "with. So no detection could be compared.\nFirst find out why the model detects nothing: the images may "
            "not show its classes, or INT8 may have destroyed its scores."
        )
    if proof.top1 is not None:
        return (
            f"On {proof.images} images, `classify.h` on the raw bytes and Python on the simulator's floats gave\nthe "
            f"same best classes in the same order. Probabilities differ by at most {proof.score:.1g}. Top-1 of "
            f"`classify.h`: {proof.top1:.{MAP_DIGITS}f}."
        )
    extras = f", the values of the task by {proof.extras:.1g} {unit}" if unit else ""
    return (
        f"On {proof.images} images, at the thresholds that mAP is measured with, `decode.h` on the raw\nbytes and "
        f"Python on the simulator's floats gave the same {proof.detections} detections in the same order. Boxes differ "
        f"by at most\n{proof.box_px:.1g} px, scores by {proof.score:.1g}{extras}. mAP50-95 of the detections of "
        f"`decode.h`: {proof.map50_95:.{MAP_DIGITS}f}."
    )


def _verdict(verdict: Verdict) -> str:
    return f"{verdict.result} ({verdict.basis}): {verdict.reason}; {verdict.advice}."
