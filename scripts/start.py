"""Go from a trained model and a data set to table, report and bundle: write a config, show it, run the workflow.

    python scripts/start.py best.pt data.yaml --board luckfox-pico-pro

FILES are the model (a .pt; .onnx files, one per size; a .cfg and its .weights, with a .names if there is one) and
the data set: a data.yaml, a COCO JSON (with --images), or a zip, tar or folder in a form of docs/your_model.md.
For a classifier, it is one with a folder of images for each class.
A .pt is loaded, which runs code in it: use only one that you trust.

Makes --config, by default RUN.yaml, and in results/RUN what `snakemake all bundle --configfile RUN.yaml` makes from it.
When it is started again, with other sizes or numbers of images, it reuses existing results.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from lib import tasks
from lib.bundle.program import compiler
from lib.data.config_files import own_dataset
from lib.detector.head import ALL_HEADS, AS_IS, CLASSIFY
from lib.npu.boards import BOARDS, with_board
from lib.results.config_problems import problems
from lib.results.overlay import MARK, Wishes, data_of, model_of, overlay, sorted_out
from lib.step.arguments import StepParser, at_least
from lib.step.console import say
from lib.step.errors import UserError, run_step
from lib.step.files import read_text, write_text
from lib.step.workflow import checked_config

HOME = Path(__file__).resolve().parent.parent


def main(argv=None):
    """Write the config, show it, run the workflow; return Snakemake's exit code."""
    args = parse(argv)
    files, data = sorted_out(args.files)
    path = args.config or Path(f"{args.run}.yaml")
    if path.exists() and not read_text(path).startswith(MARK):
        raise UserError(f"{path} was not written by this command and is left as it is; name another file with --config")
    model = model_of(files)
    heads = args.head or tasks.get(model.task).heads[-1:]
    wishes = Wishes(args.run, args.board, tuple(args.imgsz), tuple(args.max_images), tuple(heads))
    text = overlay(model, data_of(data, args.images, model), wishes, path)
    demand_valid(text)
    write_text(path, text)
    say(f"{path}:")
    for line in text.splitlines():
        say(f"  {line}")
    return 0 if args.dry_run else run(path, text, args.cores, targets(model.task, heads))


def parse(argv):
    """The command's arguments."""
    parser = StepParser(__doc__)
    parser.add_argument("files", nargs="+", metavar="FILES", help="the model and the data set")
    parser.add_argument("--board", choices=BOARDS, help="its name sets platform, memory and clock (default: an RV1106)")
    parser.add_argument("--imgsz", nargs="+", default=[], help="WIDTHxHEIGHT or one number (default: 320 640)")
    parser.add_argument("--max-images", nargs="+", default=[], type=at_least(1), metavar="N",
                        help="sizes of the calibration set (default: 16 64, if there are that many)")  # fmt: skip
    parser.add_argument("--head", nargs="+", choices=ALL_HEADS, default=[],
                        help="(default: split; as_is for a classifier)")  # fmt: skip
    parser.add_argument("--images", metavar="DIR", help="the images of a COCO JSON, if they are not beside it")
    parser.add_argument("--run", default="mine", help="results are in results/RUN (default: %(default)s)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the config to write (default: RUN.yaml)")
    parser.add_argument("--cores", default="all", help="for Snakemake (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="write and show the config only")
    return parser.parse_args(argv)


def demand_valid(text: str) -> None:
    """Raise UserError when the workflow would refuse a config with the `text`, as with --head single for keypoints."""
    defaults = HOME / "config" / "config.yaml"
    given = yaml.safe_load(text)
    schema = yaml.safe_load(read_text(HOME / "config" / "schema.yaml"))
    layers = [yaml.safe_load(read_text(defaults)), given]

    def tidied(config: dict) -> dict:
        return with_board(own_dataset(config, layers), layers)

    checked_config(given, [], defaults, schema, problems, tidied)


def targets(task: str, heads: Sequence[str]) -> list[str]:
    """Snakemake's targets; also a bundle if the model has a decoder and there is a C compiler for its proof."""
    if set(heads) == {AS_IS} and task != CLASSIFY:
        return ["all"]
    try:
        compiler()
    except UserError as error:
        say(f"WARNING: no bundle is made: {error}")
        return ["all"]
    return ["all", "bundle"]


def run(path: Path, text: str, cores: str, wanted: list[str]) -> int:
    """Run Snakemake as a user would, with the config `text` at `path`, and end with its last lines, the results.

    Returns its exit code.
    """
    program = Path(sys.executable).parent / "snakemake"
    if not program.exists():
        raise UserError(
            f"there is no Snakemake beside {sys.executable}; `make setup`, then `source .venv/bin/activate`"
        )
    elsewhere = [] if Path.cwd() == HOME else ["-s", str(HOME / "Snakefile")]
    options = [*elsewhere, "--configfile", str(path)]
    with subprocess.Popen(
        [program, *wanted, "--cores", cores, *options],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
    ) as snakemake:
        # Else the run would go on without this command.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: snakemake.send_signal(received))
        lines = snakemake.communicate()[0].splitlines()
    if not lines and snakemake.returncode == 0:  # all was there
        lines = results(yaml.safe_load(text), wanted, options)
    for line in lines:
        say(line)
    return snakemake.returncode


def results(config: dict, wanted: list[str], options: list[str]) -> list[str]:
    """The lines that Snakemake prints at the end of a run in which it made something."""
    # Imported here: pandas takes a second.
    from lib.results.closing import closing

    platform = BOARDS[config["board_model"]].platform if "board_model" in config else "rv1106"
    whole = {"platform": platform, "sweep": {"algorithm": ["normal"]} | config["sweep"]}
    rules = {"make_report"} | {*wanted} - {"all"}
    return closing(Path("results", config["run"]), whole, rules, options)


if __name__ == "__main__":
    sys.exit(run_step(main))
