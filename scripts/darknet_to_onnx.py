"""Convert a Darknet detector (.cfg and .weights) to ONNX at one image size and opset, with an output like YOLOv8's.

Makes --output with one output [1, 4+C, N]: cx, cy, w, h in input pixels, then objectness * class scores. Batch
normalization is folded. export_onnx.py does the same with a folder that download_weights.py made.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.data.imgsz import imgsz_argument
from lib.graph.darknet.convert import convert
from lib.graph.onnx_file import save
from lib.graph.surgery.graph import input_size
from lib.step.arguments import EXPORTED_OPSETS, StepParser, at_least
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import demand_sha256, require


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--cfg", required=True, type=Path, metavar="FILE.cfg")
    parser.add_argument("--weights", required=True, type=Path, metavar="FILE.weights")
    parser.add_argument("--sha256", help="SHA-256 of the weights, in hex")
    parser.add_argument("--names", type=Path, metavar="FILE", help="class names, one per line")
    parser.add_argument(
        "--imgsz", type=imgsz_argument, help="WIDTHxHEIGHT, or one number (default: the size in the .cfg)"
    )
    parser.add_argument("--opset", required=True, type=at_least(*EXPORTED_OPSETS))
    parser.add_output("--output", required=True, metavar="FILE.onnx")
    args = parser.parse_args(argv)
    if args.sha256:
        demand_sha256(require(args.weights, "weights file"), args.sha256)
    model = convert(args.cfg, args.weights, args.names, args.imgsz, args.opset)
    save(model, args.output)
    say(f"converted {args.output}: opset {args.opset}, input {input_size(model)}, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    sys.exit(run_step(main))
