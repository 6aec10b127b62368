"""What the Snakemake rules need beyond Snakemake: a checked config, one run in a folder, options of a command."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO

import yaml

from lib.step.config import repeated_keys, with_numbers
from lib.step.errors import UserError


def checked_config(
    given: dict,
    files: Iterable[Path],
    defaults: Path,
    schema: dict,
    problems: Callable[[dict, dict], list[str]],
    tidied: Callable[[dict], dict] = lambda config: config,
) -> dict:
    """The config in the YAML file `defaults` with `given` laid over it, numbers as numbers.

    `files` are those that `given` was read from, and `problems` tells what is wrong with a config under the schema, a
    sentence each; `tidied` may drop what the defaults hold and `given` has no use for. Raises UserError with all
    sentences, also for a key that stands twice in a file.
    """
    refuse(sorted(problem for path in set(files) for problem in repeated_keys(path)))
    config = laid_over(yaml.safe_load(defaults.read_text(encoding="utf-8")), given)
    config = with_numbers(tidied(config), schema)
    refuse(problems(config, schema))
    return config


def refuse(problems: list[str]) -> None:
    """Raise UserError with all that is wrong with a config, a sentence each; nothing where nothing is."""
    if problems:
        raise UserError("\n".join(["the config is not usable:", *(f"  {problem}" for problem in problems)]))


def laid_over(config: Mapping, overlay: Mapping) -> dict:
    """`config` with `overlay` laid over it: blocks of keys are merged, all else is replaced whole."""
    merged = dict(config)
    for key, value in overlay.items():
        if isinstance(value, Mapping):
            block = merged.get(key)
            value = laid_over(block if isinstance(block, Mapping) else {}, value)
        merged[key] = value
    return merged


def sole_run(folder: Path, warn: Callable[[str], None]) -> TextIO:
    """A file that keeps other runs out of `folder` while it is open: until this process ends, whatever ends it.

    Raises UserError when another run works there, on this machine or on one that shares its disk. Calls `warn` with a
    sentence where the disk keeps no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".running").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise UserError(
            f"another run works in {folder}: {file.read().strip()}; wait for its end, or choose another `run`"
        ) from None
    except OSError as error:
        warn(f"{folder}: its disk keeps no locks ({error}), so a second run in it would not be noticed")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def beside(asked: Mapping[str, list], swept: Mapping[str, list]) -> dict[str, list[str]]:
    """Key by key, the values of `asked` that `swept` lacks, as text."""
    known = {key: set(map(str, values)) for key, values in swept.items()}
    others = {key: [str(value) for value in values if str(value) not in known[key]] for key, values in asked.items()}
    return {key: values for key, values in others.items() if values}


def options(block: Mapping, prefix: str = "") -> list[str]:
    """A block of the config as options of a command, which are called as its keys; None gives none.

    A key in a block within it is called `outer.inner`, as DVC calls it too.
    """
    words = []
    for key, value in block.items():
        if isinstance(value, Mapping):
            words += options(value, f"{prefix}{key}.")
        elif value is not None:
            words += [f"--{prefix}{key}", *map(str, value if isinstance(value, list) else [value])]
    return words
