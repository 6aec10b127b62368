"""Simplify an exported ONNX with onnxslim and prove that it still computes the same.

Makes --output from --onnx; both are run on a few letterboxed images of --images and on noise.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load, save
from lib.graph.surgery.proof import PROVEN, proof_images
from lib.graph.surgery.simplify import simplify
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import run_step


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--onnx", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="letterboxed images of the model's size"
    )
    parser.add_output("--output", required=True, metavar="FILE.onnx")
    args = parser.parse_args(argv)
    exported = load(args.onnx)
    images = proof_images(args.images, input_form_of(exported))[:PROVEN]
    simplified, difference = simplify(exported, list(images), seed=0)
    save(simplified, args.output)
    say(
        f"simplified {args.output}: {len(exported.graph.node)} to {len(simplified.graph.node)} nodes, "
        f"outputs differ by at most {difference:.2g} of their range"
    )


if __name__ == "__main__":
    sys.exit(run_step(main))
