"""The classes' names in an ONNX's metadata."""

import re


def distinct_names(metadata: dict[str, str]) -> list[str]:
    """The distinct names in their order, as Ultralytics writes them: a Python dict's text. None without such a text."""
    names = re.findall(r"\d+: (?:'([^']*)'|\"([^\"]*)\")", metadata.get("names", ""))
    return list(dict.fromkeys(single or double for single, double in names))
