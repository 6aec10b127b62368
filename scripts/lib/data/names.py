"""Class names."""

from pathlib import Path

from lib.step.errors import UserError
from lib.step.files import read_text


def read_names(names: list[str]) -> list[str]:
    """Class names as given: the names themselves, or one file with one name per line.

    Raises UserError when a name is missing, empty or there twice.
    """
    if len(names) == 1 and Path(names[0]).is_file():
        names = read_text(names[0]).splitlines()
        names = names[: len(names) - (bool(names) and not names[-1].strip())]
    names = [name.strip() for name in names]
    if not names or not all(names) or len(set(names)) != len(names):
        raise UserError(
            f"class names must be distinct and not empty, one per line in a file or one per argument: {names}"
        )
    return names
