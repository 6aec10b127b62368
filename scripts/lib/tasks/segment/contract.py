"""The task's part of a bundle's contract: boxes as in detection, then a mask for each detection."""

from lib.detector.output_spec import OutputSpec
from lib.tasks.detect.contract import contract_lines as of_boxes


def contract_lines(outputs: OutputSpec) -> list[str]:
    """How to decode as lib.tasks.segment.decoding does, one sentence per step."""
    stride, channels = outputs.shared_maps[0].stride, outputs.shared_maps[0].channels
    return [
        *of_boxes(outputs),
        f"sum at a cell of the prototypes = prototypes[0] * coefficient[0] + … + prototypes[{channels - 1}] * "
        f"coefficient[{channels - 1}], with the coefficients of the detection's n",
        f"position of pixel i of the image among the cells, along x: ((i + 0.5) * letterbox scale + left) / {stride} - "
        "0.5, clipped to the first and the last cell; along y with top instead of left",
        "mask: the pixels x, y of the image with x1 <= x < x2 and y1 <= y < y2 of the detection's box, where the sum, "
        "interpolated linearly between the four cells around the position, is above 0",
    ]
