"""Measure a model's accuracy: COCO mAP50-95 and mAP50, over all classes and for each.

Makes --output (JSON) from --dataset and --split, with one preprocessing, decoding and NMS for every kind of model:
  --onnx FILE        in FP32 by onnxruntime
  --calibrated DIR   in INT8 on the toolkit's simulator
--threads processes share the pictures; the result does not depend on their number.
"""

import sys
from pathlib import Path

from lib.accuracy.average_precision import average_precision
from lib.accuracy.evaluation import OnnxModel, SimulatedModel, detect_all
from lib.data.imgsz import imgsz_argument
from lib.data.labels import read_boxes, read_names
from lib.data.split import PARTS, read_split
from lib.detector.head import EXPORTED, HEADS
from lib.npu import toolkit
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require, write_json


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    names = read_names(args.names)
    pictures = read_split(require(args.split, "split"), PARTS[args.images])
    if args.onnx:
        model = OnnxModel(require(args.onnx, "model"), args.head)
    else:
        model = SimulatedModel(require(args.calibrated, "calibrated model"), args.head, args.platform, args.algorithm)
    paths = [require(args.dataset / "images" / name, "picture") for name in pictures]
    found = detect_all(model, args.imgsz, len(names), paths, args.threads)
    sizes = [size for _, size in found]
    truth = [read_boxes(args.dataset, name, size, len(names)) for name, size in zip(pictures, sizes)]
    if not any(len(each) for each in truth):
        raise UserError(f"the {len(pictures)} pictures to evaluate on have no box at all, so mAP has no meaning")
    precision = average_precision(truth, [detections for detections, _ in found], sizes, names)
    write_json(args.output, {"images": len(pictures), **precision})
    say(f"evaluated {args.output}: mAP50-95 {precision['map50_95']:.4f} on {len(pictures)} pictures")


def parse(argv):
    """The step's arguments."""
    parser = StepParser(__doc__)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--onnx", type=Path, metavar="FILE", help="evaluate this ONNX in FP32")
    model.add_argument("--calibrated", type=Path, metavar="DIR", help="evaluate this INT8 model on the simulator")
    parser.add_argument("--head", required=True, choices=(EXPORTED, *HEADS))
    parser.add_argument("--imgsz", required=True, type=imgsz_argument, help="WIDTHxHEIGHT, or one number")
    parser.add_argument("--platform", choices=toolkit.PLATFORMS, default="rv1106")
    parser.add_argument("--algorithm", choices=toolkit.ALGORITHMS, default="normal")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--split", required=True, type=Path, metavar="FILE.csv")
    parser.add_argument("--images", choices=PARTS, default="heldout", help="evaluate on the held-out pictures, or all")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one a line")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="processes")
    parser.add_argument("--output", required=True, metavar="FILE.json")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_step(main))
