"""Export a model to ONNX at one image size and opset, with one output: [1, 4+C, N], or [1, 300, 6] if end-to-end.

Makes --output from --weights: an Ultralytics checkpoint FILE.pt, or the folder that download_weights.py made, which may
also contain a Darknet model (see darknet_to_onnx.py) or exported models. Of these, the one of that size is used
unchanged, whatever its opset and outputs. A checkpoint's SHA-256 is checked first, because loading it runs code in it.
Ultralytics is kept from installing or downloading anything.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import lib  # noqa: F401  first: it ends a step that gets no memory with a message

# isort: split
import tempfile
from pathlib import Path

import onnx

from lib import tasks
from lib.data.imgsz import any_imgsz_argument
from lib.data.weights_folder import (
    CFG,
    CHECKPOINT,
    NAMES,
    WEIGHTS,
    ModelSettings,
    expected_sha256,
    exports,
    has_cfg,
    inside,
    settings_of,
)
from lib.graph.anchor_option import demand_anchors_used, with_anchors
from lib.graph.darknet.convert import convert
from lib.graph.export import AS_TRAINED, END2END, demand_task, export
from lib.graph.input_convention import settle_input_form
from lib.graph.onnx_file import load, metadata, save
from lib.graph.onnx_source import of_size
from lib.graph.output_spec import form_or_reason
from lib.graph.surgery.fixed_size import demand_strides, fix_size
from lib.graph.surgery.prepare.behind_input import prepare
from lib.step.arguments import EXPORTED_OPSETS, StepParser, at_least
from lib.step.console import say
from lib.step.files import demand_sha256, require
from lib.step.supervisor import supervise

# Facts about the time and the machine are dropped, so that a repeated export gives the same file.
PASSING_METADATA = ("date", "args", "docs")


def main(argv=None):
    """Run the step."""
    parser = StepParser(__doc__)
    parser.add_argument("--weights", required=True, type=Path, metavar="FILE.pt|DIR")
    parser.add_argument("--sha256", help="SHA-256 of the checkpoint, in hex (default: that in FILE.pt.sha256)")
    parser.add_argument("--imgsz", required=True, type=any_imgsz_argument, help="WIDTHxHEIGHT, or one number")
    parser.add_argument("--opset", required=True, type=at_least(*EXPORTED_OPSETS))
    parser.add_argument("--end2end", choices=END2END, default=AS_TRAINED,
                        help="the one-to-one head, without NMS (default: if the checkpoint has one)")  # fmt: skip
    parser.add_argument("--task", choices=tasks.names(), help="the task that the model must be for (default: any)")
    parser.add_output("--output", required=True, metavar="FILE.onnx")
    args = parser.parse_args(argv)
    weights = require(args.weights, "weights")
    settings = settings_of(weights) if weights.is_dir() else ModelSettings({})
    given = settings.input
    files = exports(weights) if weights.is_dir() else {}
    if files:
        exported = with_anchors(load(of_size(files, args.imgsz, weights.name)), settings.anchors)
        model, _ = fix_size(exported, args.imgsz, given)
        model, notes = prepare(model, [], seed=0)
        for note in notes:
            say(f"prepared {note}")
        form, origin = settle_input_form(model, given, exported)
        say(f"input {args.imgsz}: {form} ({origin})")
        outputs, why = form_or_reason(model)
        family = outputs and outputs.spec.family
        demand_anchors_used(settings.anchors, family, why, f"models.{weights.name}.anchors")
        if outputs:
            demand_task(outputs.spec.task, args.task, weights)
    elif weights.is_dir() and has_cfg(weights):
        cfg, numbers, names = (inside(weights, weights.name, suffix) for suffix in (CFG, WEIGHTS, NAMES))
        model = convert(cfg, numbers, names if names.exists() else None, args.imgsz, args.opset)
    else:
        checkpoint = inside(weights, weights.name, CHECKPOINT) if weights.is_dir() else weights
        expected = args.sha256 or expected_sha256(checkpoint)
        demand_sha256(require(checkpoint, "weights file"), expected)
        model = from_checkpoint(checkpoint, args)
    if given and not files:
        form, origin = settle_input_form(model, given)
        say(f"input {args.imgsz}: {form} ({origin})")
    save(model, args.output)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    say(f"exported {args.output}: opset {opset}, input {args.imgsz}, {len(model.graph.node)} nodes")


def from_checkpoint(weights: Path, args) -> onnx.ModelProto:
    """The model that Ultralytics exports, without PASSING_METADATA."""
    demand_strides(args.imgsz)
    with tempfile.TemporaryDirectory() as scratch:
        model = load(export(weights, args.imgsz, args.opset, Path(scratch), args.end2end, args.task))
    kept = {key: value for key, value in metadata(model).items() if key not in PASSING_METADATA}
    onnx.helper.set_model_props(model, kept)
    return model


if __name__ == "__main__":
    sys.exit(supervise(main))
