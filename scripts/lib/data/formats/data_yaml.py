"""The keys of Ultralytics' `data.yaml`: class names, and the entries that lead to the images of each part."""

from pathlib import Path

import yaml

from lib.step import yaml_text
from lib.step.errors import UserError
from lib.step.files import read_text

MOST_CLASSES = 100_000
PARTS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


def block(file: Path) -> dict:
    """The keys of a YAML file, empty where it has none. Raises UserError for a file that is not YAML."""
    try:
        data = yaml_text.load(read_text(file))
    except yaml.YAMLError as error:
        raise UserError(_not_yaml(file, error)) from None
    return data if isinstance(data, dict) else {}


def _not_yaml(file: Path, error: yaml.YAMLError) -> str:
    """The sentence about a file that YAML does not accept: the line, what is wrong there, what to do."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f", line {mark.line + 1}," if mark else ""
    advice = "use no tabs, the same indentation within a block, a space after each colon"
    if "escape" in str(problem):
        advice = r"in double quotes, a backslash means something else: write C:/data or 'C:\data'"
    return f"{file}{place} is not valid YAML: {problem or str(error).splitlines()[0]} ({advice})"


def names_by_number(data: dict, file: Path) -> dict[int, str]:
    """The class names of a data.yaml by their numbers, which may have gaps. Raises UserError for what is not usable."""
    names, count = data.get("names"), data.get("nc")
    if names is None and count is None:
        raise UserError(f"{file} has neither names nor nc")
    try:
        count = None if count is None else _whole_number(count)
        if names is None and count > MOST_CLASSES:
            raise UserError(f"{file}: nc is {count}; at most {MOST_CLASSES} classes are possible")
        names = [f"class_{number}" for number in range(count)] if names is None else names
        pairs = enumerate(names) if isinstance(names, list) else names.items()
        names = {_whole_number(key): name for key, name in pairs}
    except (ValueError, AttributeError):
        raise UserError(
            f"{file}: nc must be a whole number, and names a list or a mapping of class numbers to names"
        ) from None
    # In a mapping with gaps, nc may count the gaps too.
    if count not in (None, len(names), max(names, default=-1) + 1):
        raise UserError(f"{file}: nc is {count}, names has {len(names)}; correct the wrong one")
    if odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, str | int | float)]:
        raise UserError(f"{file}: names holds {odd[0]!r}, which is not text; put it in quotes if it is a name")
    return {number: str(name) for number, name in names.items()}


def _whole_number(value) -> int:
    """The whole number that YAML gives as one, or as digits. Raises ValueError for others, such as 0.5 or yes."""
    return int(str(value))


def entries_of(data: dict) -> list[tuple[str, str]]:
    """The part and the text of each entry that names images."""
    entries = []
    for part, keys in PARTS.items():
        given = next((data[key] for key in keys if data.get(key)), None)
        entries += [(part, str(entry)) for entry in (given if isinstance(given, list) else [given] if given else [])]
    return entries
