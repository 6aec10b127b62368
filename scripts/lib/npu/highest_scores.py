"""The highest score that an INT8 model can report, and the highest score of each stride in calibration.

Models are built so that scores reach 1 (lib.npu.score_ranges). In a `.rknn` from elsewhere they may not: if no score
was above 0.5 in calibration, a stride never reports more than 0.5. mAP hardly shows that.
"""

from pathlib import Path

from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import read_scales
from lib.npu.score_ranges import score_maps

# If a stride's highest score is below this, a usual threshold may silence it.
LOW = 0.9
# If all scores of a stride are below this, Ultralytics' threshold, it detected nothing.
NOTHING = 0.25


def highest_scores(rknn: Path, outputs: OutputSpec) -> dict[int, float]:
    """The highest score (0..1) of each stride, for both heads; empty for a model whose maps are not scores.

    Raises UserError when the file is not a .rknn.
    """
    scales = read_scales(rknn)
    highest: dict[int, float] = {}
    for name, stride in score_maps(outputs).items():
        if name in scales:
            scale, zero_point = scales[name]
            most = min(1.0, (127 - zero_point) * scale)
            highest[stride] = highest.get(stride, 1.0) * most
    return dict(sorted(highest.items()))


def score_lines(highest: dict[int, float], surest: dict[int, float]) -> list[str]:
    """The lines about the highest scores of a model and of its calibration images, by stride.

    One line, a warning for each stride whose highest score is low, and a line if any detected no object in calibration.
    """
    if not highest:
        return []
    lines = [f"scores     at most {', '.join(f'{most:.2f} at stride {stride}' for stride, most in highest.items())}"]
    for stride, most in highest.items():
        if most < LOW:
            lines.append(
                f"WARNING: stride {stride} reports no score above {most:.2f}; keep thresholds well below, or calibrate "
                "on more images"
            )
    if silent := unseen(surest):
        lines.append(
            f"unseen     stride {', '.join(map(str, silent))} detected nothing in the calibration images, so the range "
            "of its boxes is uncertain; if it should detect objects, calibrate on images that show such objects"
        )
    return lines


def unseen(surest: dict[int, float]) -> list[int]:
    """The strides that detected no object in the calibration images."""
    return [stride for stride, score in surest.items() if score < NOTHING]
