"""The versions of rknn-toolkit2 that this project builds with, and which of them a board's runtime can read.

A runtime reads models of its own version and of older ones; of a newer one it says `failed to decode config data`
(airockchip/rknn_model_zoo#153, #154, #185; airockchip/rknn-toolkit2#465).
"""

import re

DEFAULT = "2.3.2"
VERSIONS = ("2.2.0", "2.3.0", DEFAULT, "2.5.0")  # oldest first


def version_numbers(text: str) -> tuple[int, ...] | None:
    """The numbers that a version begins with: (2, 3, 2) of "2.3.2 (429f97ae6b)"; None where there are none."""
    match = re.match(r"\d+(\.\d+)+", text)
    return tuple(map(int, match[0].split("."))) if match else None


def version_for(runtime: str) -> str | None:
    """The version to build with for a board's runtime: the default, or the newest that it can read; None for none."""
    numbers = version_numbers(runtime) or ()
    readable = [version for version in VERSIONS if (version_numbers(version) or ()) <= numbers]
    if DEFAULT in readable:
        return DEFAULT
    return readable[-1] if readable else None
