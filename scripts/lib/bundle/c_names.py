"""Unique C names per model, so that one program can contain several models."""

import hashlib
import re

from lib.results.sweep import Variant

# A model name that is a valid C name already. Names that end like a changed name are excluded, to avoid collisions.
_PLAIN = re.compile(r"(?!.*_[0-9a-f]{6}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")


def c_prefix(variant: Variant) -> str:
    """Return the prefix of a variant's C names, in lower case: `yolov8n_320_split_normal_64`.

    A C name has no dots, dashes or leading digits, and macros use the prefix in capitals. A model name that must be
    changed for that gets six digits of its checksum, so that `a-b`, `a.b`, `A_B` and `a_b` stay different. The part
    after the model name has a fixed form, so a prefix is never a keyword, and two variants never have the same one.
    """
    return "_".join([_model(variant.model), variant.imgsz, variant.head, variant.algorithm, str(variant.max_images)])


def _model(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    letter = "" if re.match(r"[a-z]", words) else "m"
    return f"{letter}{words}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
