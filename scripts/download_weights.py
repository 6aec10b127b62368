"""Download a model's files from the first source that works, checked against their SHA-256.

Makes the folder --output, whose name is the model's (NAME), from sources (URLs or paths):
  --weights              an Ultralytics checkpoint, sources tried in order: NAME.pt and NAME.pt.sha256 (as sha256sum
                         writes it). The checksum is required, because loading a checkpoint runs code in it.
  --weights with --cfg   a Darknet model: NAME.weights, NAME.cfg and, with --names, NAME.names. They contain no code;
                         without a checksum they are used unchecked, with a warning.
  --onnx                 exported models, one file per size: NAME-SIZE.onnx. They contain no code either.
Without --weights and --onnx, the model is the published one called NAME in config/published.yaml. The --input options
and --anchors are written to NAME.json, for the export.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.data.download import fetch
from lib.data.input_options import add_input_options, given_input
from lib.data.names import read_names
from lib.data.published import published
from lib.data.sources import is_url, missing_checksum
from lib.data.weights_folder import (
    CFG,
    CHECKPOINT,
    NAMES,
    ONNX,
    SETTINGS,
    WEIGHTS,
    ModelSettings,
    export_of_size,
    inside,
    is_downloaded,
)
from lib.step.arguments import StepParser
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import whole, write_text


def main(argv=None):
    """Run the step."""
    args = parse(argv)
    with whole(args.output) as folder:
        folder.mkdir()
        source = fetch_exports(args, folder) if args.onnx else fetch_weights(args, folder)
        given, anchors = given_input(args, "input."), anchors_of(args)
        if given or anchors:
            ModelSettings(given, anchors).write(inside(folder, args.output.name, SETTINGS))
    say(f"weights {args.output} from {source}")


def parse(argv):
    """The step's arguments. Raises UserError for a contradictory combination."""
    parser = StepParser(__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", nargs="+", metavar="SOURCE", help="URLs or paths, tried in order")
    source.add_argument("--onnx", nargs="+", metavar="SOURCE", help="one URL or path per size")
    parser.add_argument("--sha256", nargs="+", default=[], help="SHA-256 of the weights, or of each ONNX, in hex")
    parser.add_argument("--cfg", nargs="+", metavar="SOURCE", help="Darknet's description of the network")
    parser.add_argument("--names", nargs="+", help="a Darknet model's class names, or a file with one per line")
    parser.add_argument(
        "--anchors", nargs="+", help="for exported models that do not decode: numbers, a .yaml, or a name"
    )
    add_input_options(parser, "input.")
    parser.add_output("--output", required=True, type=Path, metavar="DIR", is_own=is_downloaded)
    args = parser.parse_args(argv)
    if not (args.weights or args.onnx):
        take_published(args)
    args.sha256 = [checksum for checksum in args.sha256 if checksum]
    if args.weights and not args.cfg and not args.sha256:
        raise UserError(missing_checksum(args.weights))
    if args.onnx and args.cfg:
        raise UserError("--cfg belongs to Darknet's --weights, not to --onnx")
    if args.names and not args.cfg:
        raise UserError("--names belongs to a Darknet model; others contain their own; leave it out")
    if args.anchors and not args.onnx:
        raise UserError("--anchors belongs to --onnx; weights contain their own; leave it out")
    if args.sha256 and len(args.sha256) != len(args.onnx or [""]):
        raise UserError(f"{len(args.sha256)} checksums are given for {len(args.onnx or [''])} files; give one per file")
    return args


def take_published(args) -> None:
    """Fill in address and checksum of the published model. Raises UserError when there is none of that name."""
    known = published()["models"]
    if args.output.name not in known:
        raise UserError(f"give --weights or --onnx; published models need neither: {', '.join(known)}")
    args.weights, args.sha256 = known[args.output.name]["weights"], [known[args.output.name]["sha256"]]


def anchors_of(args) -> str | None:
    """The value of --anchors, for an ONNX's metadata. Raises UserError when it is invalid."""
    if not args.anchors:
        return None
    # Imported here: ONNX takes a moment to load, and weights do not need it.
    from lib.graph.anchor_option import parse_anchors

    return parse_anchors(" ".join(args.anchors))


def fetch_weights(args, folder: Path) -> str:
    """Fetch a checkpoint or a Darknet model; return the source used."""
    name, [checksum] = args.output.name, args.sha256 or [None]
    if not checksum:
        say(f"WARNING: {args.weights[0]} has no sha256 in the config (models.<name>.sha256); it is used unchecked")
    weights = inside(folder, name, WEIGHTS if args.cfg else CHECKPOINT)
    source = fetch(args.weights, weights, checksum, "models.<name>.weights")
    if checksum:
        write_text(f"{weights}.sha256", f"{checksum.lower()}  {weights.name}\n")
    if args.cfg:
        fetch(args.cfg, inside(folder, name, CFG), None, "models.<name>.cfg")
    if args.names:
        lines = "".join(f"{name}\n" for name in read_names(args.names))
        write_text(inside(folder, name, NAMES), lines)
    return source


def fetch_exports(args, folder: Path) -> str:
    """Fetch exported models, and name them by their sizes; return the sources."""
    # Imported here: ONNX takes a moment to load, and weights do not need it.
    from lib.graph.onnx_source import by_size

    fetched = {}
    for number, source in enumerate(args.onnx):
        checksum = args.sha256[number] if args.sha256 else None
        if is_url(source) and not checksum:
            say(f"WARNING: {source} has no sha256 in the config (models.<name>.sha256); it is used unchecked")
        file = folder / f"{number}{ONNX}"
        fetch([source], file, checksum, "models.<name>.onnx")
        fetched[file] = source
    try:
        files = by_size(list(fetched))
    except UserError as error:
        message = str(error)
        for file, source in fetched.items():
            message = message.replace(str(file), source)
        raise UserError(message) from None
    for size, file in files.items():
        file.rename(export_of_size(folder, args.output.name, size))
    return f"{', '.join(args.onnx)} (sizes: {', '.join(files)})"


if __name__ == "__main__":
    sys.exit(run_step(main))
