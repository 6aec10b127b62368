"""Measure layer by layer how far INT8 is from FP32, on one picture, with the toolkit's simulator.

Makes --csv (layer, type, cosine and euclidean error of the whole network and of the layer alone) and --plot, which
names the worst layers, from the folder --calibrated that calibrate.py wrote. The picture is the first of --dataset that
has a label and was not calibrated with.
"""

import sys
import tempfile
from pathlib import Path

import cv2

from lib.data.images import read_picture
from lib.data.imgsz import imgsz_argument
from lib.data.labels import read_names
from lib.data.letterbox import letterbox
from lib.data.split import labelled_pictures
from lib.npu import toolkit
from lib.npu.layer_errors import worst
from lib.results.plots import layer_errors
from lib.results.table import to_csv
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import require, write_text


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--calibrated", required=True, type=Path, metavar="DIR")
    parser.add_argument("--imgsz", required=True, type=imgsz_argument, help="WIDTHxHEIGHT, or one number")
    parser.add_argument("--platform", required=True, choices=toolkit.PLATFORMS)
    parser.add_argument("--algorithm", required=True, choices=toolkit.ALGORITHMS)
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--names", nargs="+", required=True, help="class names, or a file with one a line")
    parser.add_argument("--csv", required=True, metavar="FILE.csv")
    parser.add_argument("--plot", required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    for name in toolkit.CALIBRATED:
        require(args.calibrated / name, "calibration file")
    pictures = labelled_pictures(args.dataset, len(read_names(args.names)))
    if not pictures:
        raise UserError(f"no evaluation picture of {args.dataset} has a label, so there is nothing to analyse with")
    fitted, _ = letterbox(read_picture(args.dataset / "images" / pictures[0]), args.imgsz)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "letterboxed.png")
        cv2.imwrite(str(path), fitted[:, :, ::-1])
        with toolkit.built(args.calibrated, args.platform, args.algorithm) as rknn:
            table = toolkit.layer_errors(rknn, path)
    write_text(args.csv, to_csv(table))
    layer_errors(table, f"{' '.join(args.calibrated.parts[-4:])}, {pictures[0]}", args.plot)
    first = worst(table, 1).iloc[0]
    say(f"layers of {args.calibrated} on {pictures[0]}: worst is {first.layer}, cosine {first.single_cos:.5f}")


if __name__ == "__main__":
    sys.exit(run_step(main))
