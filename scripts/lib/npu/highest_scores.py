"""The highest score that an INT8 model can report: the scale of a score map ends where calibration's surest object did.

A stride whose calibration images showed nothing above 0.5 reports 0.5 for whatever it sees, and is silent at a higher
threshold. mAP hardly shows that.
"""

from pathlib import Path

from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import read_scales

# What multiplies to a score, each a map of 0 to 1.
_FACTORS = ("scores", "objectness")
# Below this a threshold that people use may silence a stride.
LOW = 0.9
# Below this, Ultralytics' own threshold, a stride detected nothing.
NOTHING = 0.25


def highest_scores(rknn: Path, outputs: OutputSpec) -> dict[int, float]:
    """The highest score (0..1) of each stride, of both heads; none of a model whose maps are not scores.

    Raises UserError when the file is none.
    """
    scales = read_scales(rknn)
    highest: dict[int, float] = {}
    for output in outputs.family.maps(outputs.classes):
        if output.role in _FACTORS and output.name in scales:
            scale, zero_point = scales[output.name]
            most = min(1.0, (127 - zero_point) * scale)
            highest[output.stride] = highest.get(output.stride, 1.0) * most
    return dict(sorted(highest.items()))


def score_lines(highest: dict[int, float]) -> list[str]:
    """What to say of them: a line, and a warning for each stride whose scores end low."""
    if not highest:
        return []
    lines = [f"scores     at most {', '.join(f'{most:.2f} at stride {stride}' for stride, most in highest.items())}"]
    for stride, most in highest.items():
        if most < NOTHING:
            lines.append(f"WARNING: stride {stride} saw no object in the calibration images; its scale is a guess")
        elif most < LOW:
            lines.append(
                f"WARNING: stride {stride} reports no score above {most:.2f}, as sure as its surest calibration "
                "object; keep thresholds well below, or calibrate on more images"
            )
    return lines
