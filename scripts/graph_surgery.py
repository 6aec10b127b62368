"""Give a simplified ONNX outputs that an INT8-only NPU can represent, and prove that it computes the same.

Makes --output (and --proof, each pass with its largest differences as JSON) from --onnx for one --head:
  single  one output [1, 4+C, N, 1]; boxes divided by width and height
  split   per stride box logits [1, 64, H/s, W/s] and class scores [1, C, H/s, W/s]
  as_is   the outputs that it has; the graph is only prepared for the toolkit
A model with anchors is also equalized: all channels of a feature map get the same range, measured on --images. After
each pass the graph is run on a few letterboxed images of --images and on noise; if its predictions differ by more than
rounding from those before, the step stops and writes nothing.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.detector.head import ALL_HEADS, HEADS
from lib.graph.anchor_option import add_anchors_option, demand_anchors_used, with_anchors
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load, save
from lib.graph.surgery.pipeline import adapt, adapted_spec
from lib.graph.surgery.proof import proof_images
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import run_step
from lib.step.files import write_json


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--head", required=True, choices=ALL_HEADS)
    parser.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="letterboxed images of the model's size"
    )
    add_anchors_option(parser)
    parser.add_output("--output", required=True, metavar="FILE.onnx")
    parser.add_output("--proof", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    model = with_anchors(load(args.onnx), args.anchors)
    after, record = adapt(model, args.head, proof_images(args.images, input_form_of(model)), seed=0)
    outputs = adapted_spec(after)
    demand_anchors_used(args.anchors, outputs and outputs.family, f"the head {args.head} is asked for")
    save(after, args.output)
    write_json(args.proof, record)
    shapes = [[d.dim_value for d in output.type.tensor_type.shape.dim] for output in after.graph.output]
    if args.head in HEADS:
        difference = f"largest difference {record['box_px']:.2g} px, {record['score']:.2g} in scores"
    else:
        difference = f"outputs differ by at most {record['difference']:.2g} of their range"
    say(f"head '{args.head}' {args.output}: outputs {shapes}, {difference}")


if __name__ == "__main__":
    sys.exit(run_step(main))
