"""An input's form on a command line: one option per field."""

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
            "help": f"pixels 0 to 255 are first divided by this {default}",
        },
        "mean": {
            "type": float,
            "nargs": "+",
            "metavar": "M",
            "help": "then this is subtracted from each channel (default: 0)",
        },
        "std": {
            "type": float,
            "nargs": "+",
            "metavar": "S",
            "help": "then each channel is divided by this (default: 1)",
        },
        "letterbox": {"choices": get_args(Place), "help": f"where the image is placed in the input {default}"},
        "fill": {"type": int, "metavar": "0..255", "help": f"the grey around the image (default: {InputForm.fill})"},
    }.items():
        parser.add_argument(f"--{prefix}{name}", **options)


def given_input(args: argparse.Namespace, prefix: str = "") -> dict:
    """The fields that the options give. Raises UserError when no form has these values."""
    given = {
        name: getattr(args, f"{prefix}{name}") for name in ("channels", "scale", "mean", "std", "letterbox", "fill")
    }
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    # Only the graph may show that a model is grey: three values of mean are then refused once the graph is read.
    InputForm().with_changes(given)
    return given
