"""Export Ultralytics weights to ONNX at one image size and opset.

Makes --output from the checkpoint --weights, whose SHA-256 is checked first: loading a checkpoint runs code in it.
Ultralytics installs and downloads nothing while it does so.
"""

import sys
import tempfile
from pathlib import Path

from lib.console import say
from lib.errors import UserError, run_step
from lib.export import export
from lib.files import require, sha256
from lib.onnx_file import load, save
from lib.step import StepParser, at_least, imgsz

# Facts of the moment and of the machine have no place in a file that should come out the same tomorrow.
PASSING_METADATA = ("date", "args", "docs")


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--weights", required=True, type=Path, metavar="FILE.pt")
    parser.add_argument("--sha256", help="SHA-256 of the weights, in hex (default: what WEIGHTS.sha256 beside it says)")
    parser.add_argument("--imgsz", required=True, type=imgsz, help="WIDTHxHEIGHT, or one number")
    parser.add_argument("--opset", required=True, type=at_least(11))
    parser.add_argument("--output", required=True, metavar="FILE.onnx")
    args = parser.parse_args(argv)
    weights = require(args.weights, "weights file")
    expected = args.sha256 or require(f"{weights}.sha256", "checksum file").read_text().split()[0]
    if (found := sha256(weights)) != expected.lower():
        raise UserError(f"{weights} is not loaded: its sha256 is {found}, not the {expected} that was asked for")
    with tempfile.TemporaryDirectory() as scratch:
        exported = export(weights, args.imgsz, args.opset, Path(scratch))
        model = load(exported)
    kept = [each for each in model.metadata_props if each.key not in PASSING_METADATA]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    save(model, args.output)
    say(f"exported {args.output}: opset {args.opset}, input {args.imgsz}, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    sys.exit(run_step(main))
