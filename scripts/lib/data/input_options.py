"""An input's form on a command line: an option per field, those that are given."""

import argparse
from typing import get_args

from lib.data.input_form import Channels, InputForm, Place, Scale


def add_input_options(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add `--channels`, `--scale`, `--mean`, `--std`, `--letterbox`, `--fill`, with `prefix` before each name."""
    default = "(default: the convention of the model's makers, where it is known)"
    for name, options in {
        "channels": {"choices": get_args(Channels), "help": f"their order {default}"},
        "scale": {
            "type": int,
            "choices": get_args(Scale),
            "help": f"what pixels 0 to 255 are divided by first {default}",
        },
        "mean": {
            "type": float,
            "nargs": "+",
            "metavar": "M",
            "help": "taken from each channel after that (default: 0)",
        },
        "std": {"type": float, "nargs": "+", "metavar": "S", "help": "what is left is divided by it (default: 1)"},
        "letterbox": {"choices": get_args(Place), "help": f"where an image lies in the input {default}"},
        "fill": {"type": int, "metavar": "0..255", "help": f"the grey around it (default: {InputForm.fill})"},
    }.items():
        parser.add_argument(f"--{prefix}{name}", **options)


def given_input(args: argparse.Namespace, prefix: str = "") -> dict:
    """The fields that the options give. Raises UserError when they are those of no form."""
    given = {
        name: getattr(args, f"{prefix}{name}") for name in ("channels", "scale", "mean", "std", "letterbox", "fill")
    }
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    # A grey model may be told by its graph alone: three values of mean are then refused when that is known.
    InputForm().with_changes(given)
    return given
