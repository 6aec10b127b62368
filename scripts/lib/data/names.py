"""Class names."""

from pathlib import Path

from lib.step.errors import UserError
from lib.step.files import read_text


def read_names(names: list[str]) -> list[str]:
    """Class names from what the user gives: the names themselves, or one file with one name per line.

    Raises UserError when a name is missing, empty or there twice.
    """
    if len(names) == 1 and Path(names[0]).is_file():
        demand_plain_list(names[0])
        names = read_text(names[0]).splitlines()
        names = names[: len(names) - (bool(names) and not names[-1].strip())]
    return distinct([name.strip() for name in names])


def demand_plain_list(path: str) -> None:
    """Raises UserError for a YAML file: it is not a list of names, but may be a data.yaml."""
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        raise UserError(
            f"names: {path} is a YAML file, not one name per line; for a data.yaml write dataset: {{yaml: {path}}}"
        )


def distinct(names: list[str], place: str = "") -> list[str]:
    """`names`, unchanged. Raises UserError, which begins with their `place`, when one is missing, empty or repeated."""
    if not names or not all(names) or len(set(names)) != len(names):
        where = f"{place}: " if place else ""
        raise UserError(
            f"{where}class names must be distinct and not empty, one per line in a file or one per argument: {names}"
        )
    return names
