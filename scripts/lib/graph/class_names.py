"""The classes' names in an ONNX's metadata."""

import re


def distinct_names(metadata: dict[str, str]) -> list[str]:
    """The distinct names in their order, as Ultralytics writes them: a Python dict's text. None without such a text."""
    names = re.findall(r"\d+: (?:'([^']*)'|\"([^\"]*)\")", metadata.get("names", ""))
    return list(dict.fromkeys(single or double for single, double in names))


def names_apart(metadata: dict[str, str], names: list[str]) -> str | None:
    """Where a model's names are not the data set's `names`, in words; None where they agree or the model has none."""
    own = distinct_names(metadata)
    apart = [
        f"class {at} is '{pair[0]}' and '{pair[1]}'" for at, pair in enumerate(zip(own, names)) if len(set(pair)) > 1
    ]
    if len(own) != len(names) or not apart:
        return None
    more = f" and {len(apart) - 3} more" if len(apart) > 3 else ""
    order = "the same in another order" if set(own) == set(names) else "others"
    return f"the names in the model are {order} than those of dataset.names: {'; '.join(apart[:3])}{more}"
