"""What every step's command line has in common."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from lib.step import console
from lib.step.outputs import Output, demand_safe

# The opsets that both torch's exporter and the toolkit support; the config's schema says the same.
EXPORTED_OPSETS = (11, 20)
# torch takes no more than 64 bits; the schema says the same.
MOST_SEED = 999_999_999
# At most so many resamples for an interval, since all are held in memory; the config's schema says the same.
MOST_RESAMPLES = 100_000


class StepParser(argparse.ArgumentParser):
    """An argument parser that shows the step's docstring as help and sends the toolkit's output to `--log`."""

    def __init__(self, doc: str, opens_log: bool = True):
        """With `opens_log` False the step itself decides where the toolkit's output goes."""
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        self.add_argument("--log", metavar="FILE", help="write all output there; the toolkit's goes only there")
        self.opens_log = opens_log
        self._outputs: dict[str, Output] = {}

    def error(self, message: str):
        """End the process with one sentence, without the list of all options."""
        self.exit(2, f"error: {message}; {self.prog} --help lists the options\n")

    def add_output(
        self,
        *flags: str,
        is_own: Callable[[Path], bool] | None = None,
        parts: tuple[str, ...] = (),
        files: tuple[str, ...] = (),
        **kwargs,
    ) -> None:
        """Add an option that names an output of the step; `lib.step.outputs.Output` explains `is_own` and the rest.

        Every other path on the command line counts as an input.
        """
        action = self.add_argument(*flags, **kwargs)
        self._outputs[action.dest] = Output(action.option_strings[-1], is_own, parts, files)

    def demand_safe(self, parsed: argparse.Namespace) -> None:
        """Raise UserError when an output or the log would overwrite an input or another file of the user's."""
        outputs, inputs = [], []
        options = {action.dest: (action.option_strings or [action.metavar])[-1] for action in self._actions}
        for name, value in vars(parsed).items():
            values = value if isinstance(value, list) else [value]
            paths = [str(each) for each in values if isinstance(each, str | Path)]
            if name in self._outputs:
                outputs += [(path, self._outputs[name]) for path in paths]
            elif name != "log":
                inputs += [(options.get(name, name), os.path.expanduser(path)) for path in paths]  # noqa: PTH111
        demand_safe(outputs, inputs, parsed.log)

    def add_renamed(self, old: str, new: str, **kwargs) -> None:
        """Accept the `old` name of an option too, with a warning that gives the new one."""

        class Renamed(argparse.Action):
            def __call__(self, parser, namespace, values, option_string=None):
                console.say(f"WARNING: {old} is now called {new}; use the new name")
                setattr(namespace, self.dest, values)

        self.add_argument(
            old, dest=new.lstrip("-"), action=Renamed, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **kwargs
        )

    def parse_args(self, *args, **kwargs):
        """Parse, then send file descriptors 1 and 2 to `--log`. Before that, raises UserError as `demand_safe` does."""
        parsed = super().parse_args(*args, **kwargs)
        self.demand_safe(parsed)
        if self.opens_log:
            console.log_to(parsed.log)
        return parsed


def shape(text: str) -> tuple[int, int]:
    """An argparse type for proportions, WIDTH:HEIGHT."""
    match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form WIDTH:HEIGHT, such as 16:9")
    return int(match[1]), int(match[2])


def at_least(smallest: int, largest: int | None = None):
    """An argparse type: a whole number not below `smallest`, nor above `largest`."""

    def count(text: str) -> int:
        value = int(text)
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is below {smallest}")
        if largest is not None and value > largest:
            raise argparse.ArgumentTypeError(f"{value} is above {largest}")
        return value

    count.__name__ = "whole number"
    return count


def sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for a sweep's lists, named like the config's keys."""
    parser.add_argument("--model", required=True, nargs="+")
    parser.add_argument("--imgsz", required=True, nargs="+", help="as in the file names")
    parser.add_argument("--head", required=True, nargs="+")
    parser.add_argument("--algorithm", required=True, nargs="+")
    parser.add_argument("--max-images", "--max_images", required=True, nargs="+", type=at_least(1))


def also_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option for variants outside the sweep."""
    parser.add_argument("--also", nargs="+", default=[], metavar="MODEL/IMGSZ/HEAD/ALGORITHM-MAX_IMAGES",
                        help="variants outside the sweep")  # fmt: skip
