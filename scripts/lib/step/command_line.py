"""Finds mistakes in Snakemake's command line before Snakemake itself would end with a traceback."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from lib.step import yaml_text

# Options that take all words after them, up to the next option.
FILES, VALUES = ("--configfile", "--configfiles"), ("--config", "-C")
OWN = Path("config", "config.yaml")  # which the Snakefile reads from the working folder if it is there
NAME = re.compile(r"[a-z][a-z0-9_]*")  # of a target; a config file has a suffix


def end_if_misused(argv: list[str]) -> None:
    """End the process with one sentence where `argv`, the words after `snakemake`, cannot be what the user meant."""
    for sentence in problems(argv):
        print(sentence, file=sys.stderr, flush=True)
        sys.exit(1)


def problems(argv: list[str]) -> Iterator[str]:
    """One sentence per word that an option would take by mistake, and per config file that is not a config."""
    if OWN.is_file() and (reason := _unreadable(OWN)):
        yield f"the config file {OWN} {reason}"
    option = ""
    for number, word in enumerate(argv):
        if word == "--":
            return
        if word.startswith("-"):
            option, assigned, word = word.partition("=")
            if not assigned:
                continue
        if option in FILES and not Path(word).expanduser().exists() and NAME.fullmatch(word):
            yield _eaten(argv, number, option)
        elif option in FILES and (reason := _unreadable(Path(word).expanduser())):
            yield f"the config file {word} {reason}"
        elif option in VALUES and "=" not in word:
            yield _eaten(argv, number, option)


def _eaten(argv: list[str], number: int, option: str) -> str:
    word, others = argv[number], argv[:number] + argv[number + 1 :]
    if not NAME.fullmatch(word):
        return f"{option} takes all words after it, and '{word}' is not KEY=VALUE"
    command = shlex.join(["snakemake", word, *others])
    return f"{option} takes all words after it, so it would take '{word}' too; name the target first: {command}"


def _unreadable(path: Path) -> str | None:
    if path.is_dir():
        return "is a folder; name a file"
    if not path.exists():
        return "does not exist"
    try:
        config = yaml_text.load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return "is not in UTF-8; save it in this encoding (an editor may call it 'UTF-8 without BOM')"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except yaml_text.Endless as error:
        return f"cannot be used: {error}"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}: {error.problem}" if mark else ""
        return f"is not valid YAML{place} (use no tabs, the same indentation within a block, a space after each colon)"
    return None if isinstance(config, dict | None) else "contains no keys, such as `run: mine`"
