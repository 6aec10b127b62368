"""The highest score that an INT8 model can report, and the highest that each stride saw in calibration.

Scores are built to reach 1 (lib.npu.score_ranges). A `.rknn` from elsewhere may end lower: where its calibration images
showed nothing above 0.5 a stride reports 0.5 for whatever it sees. mAP hardly shows that.
"""

from pathlib import Path

from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import read_scales
from lib.npu.score_ranges import score_maps

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
    for name, stride in score_maps(outputs).items():
        if name in scales:
            scale, zero_point = scales[name]
            most = min(1.0, (127 - zero_point) * scale)
            highest[stride] = highest.get(stride, 1.0) * most
    return dict(sorted(highest.items()))


def score_lines(highest: dict[int, float], surest: dict[int, float]) -> list[str]:
    """What to say of the highest scores of a model and of its calibration images, by stride.

    A line, and a warning for each stride whose scores end low, or that saw no object.
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
    return [*lines, *(f"WARNING: {line}" for line in unseen(surest).values())]


def unseen(surest: dict[int, float]) -> dict[int, str]:
    """A sentence for each stride that saw no object in the calibration images."""
    return {
        stride: f"stride {stride} saw no object in the calibration images (surest {score:.2f}); its scale is a guess"
        for stride, score in surest.items()
        if score < NOTHING
    }
