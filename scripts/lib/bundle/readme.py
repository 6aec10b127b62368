"""README.md of a bundle, for the person who programs the board."""

from string import Template

import numpy as np

from lib.bundle import HERE
from lib.bundle.contract import outputs_of
from lib.detector import families
from lib.npu.rknn_file import RknnTensor, dequantize
from lib.results.rounding import MAP_DIGITS
from lib.results.sweep import Variant

_NO_NMS = (
    " The model's head is one-to-one: it predicts each object once, so there is no NMS, and `YOLOV8_MODEL_IOU` is not "
    "looked at."
)


def readme(agreed: dict) -> str:
    """The text of README.md for a contract with its proof."""
    image, thresholds, accuracy, proof = (agreed[name] for name in ("input", "thresholds", "accuracy", "proof"))
    return Template((HERE / "README.template.md").read_text()).substitute(
        thresholds | {"iou": "none" if agreed["end2end"] else thresholds["iou"]},
        **{name: f"{value:.{MAP_DIGITS}f}" for name, value in accuracy.items() if name.startswith("map")},
        images=accuracy["images"],
        title=Variant(**agreed["variant"]).title(),
        platform=agreed["platform"],
        toolkit=agreed["toolkit"],
        input_name=image["name"],
        width=image["width"],
        height=image["height"],
        fill=image["letterbox"]["fill"][0],
        outputs=_outputs(agreed),
        family_name=agreed["family"],
        family=families.get(agreed["family"]).title,
        nms=_NO_NMS if agreed["end2end"] else "",
        verdict=_verdict(agreed["verdict"]),
        proven_images=proof["images"],
        proven_detections=proof["detections"],
        box_px=f"{proof['box_px']:.1g}",
        score=f"{proof['score']:.1g}",
        proven_map=f"{proof['map50_95']:.{MAP_DIGITS}f}",
        held_out=" that it was not calibrated with" if accuracy["part"] == "heldout" else "",
    )


def _outputs(agreed: dict) -> str:
    """The outputs as a Markdown table."""
    confidence = agreed["thresholds"]["confidence"]
    title = ["#", "name", "logical shape", "in memory", "padding", "bytes", "scale", "zero point"]
    rows = [[*title, str(confidence), "channels"], ["---"] * (len(title) + 2)]
    for told, output in zip(agreed["outputs"], outputs_of(agreed)):
        channels = "; ".join(f"{which}: {what}" for which, what in told["channels"].items())
        rows.append(
            [
                told["index"],
                f"`{told['name']}`",
                told["shape"],
                f"{told['layout']} {told['native_shape']}",
                told["padding_channels"],
                told["bytes"],
                f"{told['scale']:.9g}",
                told["zero_point"],
                _stored_limit(output, confidence) if "score" in channels or "objectness" in channels else "",
                channels,
            ]
        )
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _stored_limit(output: RknnTensor, threshold: float) -> int | str:
    """The largest byte whose value is not above `threshold`."""
    stored = np.arange(-128, 128)
    below = stored[dequantize(stored, output) <= np.float32(threshold)]
    return int(below[-1]) if len(below) else "all are above"


def _verdict(verdict: dict) -> str:
    return f"{verdict['result']} ({verdict['basis']}): {verdict['reason']}; {verdict['advice']}."
