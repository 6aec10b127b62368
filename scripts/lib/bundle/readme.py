"""README.md of a bundle, for the person who programs the board."""

from string import Template

import numpy as np

from lib.bundle import HERE
from lib.bundle.contract import outputs_of
from lib.rknn_file import RknnTensor, dequantize
from lib.table import Variant


def readme(agreed: dict) -> str:
    """The text of README.md for a contract with its proof."""
    image, thresholds, accuracy, proof = (agreed[name] for name in ("input", "thresholds", "accuracy", "proof"))
    variant = Variant(**agreed["variant"])
    return Template((HERE / "README.template.md").read_text()).substitute(
        thresholds,
        **accuracy,
        title=f"{variant.model} {variant.imgsz}, head '{variant.head}', {variant.algorithm}-{variant.max_images}",
        platform=agreed["platform"],
        toolkit=agreed["toolkit"],
        input_name=image["name"],
        width=image["width"],
        height=image["height"],
        normalization=image["normalization"],
        fill=image["letterbox"]["fill"][0],
        outputs=_outputs(agreed),
        padding_note=" or ".join(map(str, sorted({each["padding_channels"] for each in agreed["outputs"]}))),
        verdict=_verdict(agreed["verdict"]),
        proven_images=proof["images"],
        proven_detections=proof["detections"],
        box_px=f"{proof['box_px']:.1g}",
        score=f"{proof['score']:.1g}",
        proven_map=proof["map50_95"],
        held_out="" if agreed["evaluated"] == "heldout" else " or was (all of the data set)",
    )


def _outputs(agreed: dict) -> str:
    confidence = agreed["thresholds"]["confidence"]
    lines = [
        f"| # | name | logical shape | in memory, NC1HWC2 | bytes | scale | zero point | {confidence} | channels |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for told, output in zip(agreed["outputs"], outputs_of(agreed)):
        channels = told["channels"]
        limit = _stored_limit(output, confidence) if any("score" in each for each in channels.values()) else ""
        meaning = "; ".join(f"{which}: {what}" for which, what in channels.items())
        lines.append(
            f"| {told['index']} | `{told['name']}` | {told['shape']} | {told['native_shape']} | {told['bytes']} "
            f"| {told['scale']:.9g} | {told['zero_point']} | {limit} | {meaning} |"
        )
    return "\n".join(lines)


def _stored_limit(output: RknnTensor, threshold: float) -> int | str:
    """The largest byte whose value is not above `threshold`."""
    stored = np.arange(-128, 128)
    below = stored[dequantize(stored, output) <= np.float32(threshold)]
    return int(below[-1]) if len(below) else "all are above"


def _verdict(verdict: dict | None) -> str:
    if verdict is None:
        return "No verdict was made for this build; read its `build.log` for operators whose target is the CPU."
    return f"{verdict['result']}: {verdict['reason']} ({verdict['basis']})"
