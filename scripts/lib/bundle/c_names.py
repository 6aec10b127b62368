"""A model's names in C, unique per model, so that one program can contain two models."""

import hashlib
import re

from lib.results.sweep import Variant

# A name that is already a C name. Names that end like a changed name are excluded: they could be another model's.
_PLAIN = re.compile(r"(?!.*_[0-9a-f]{6}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")


def c_prefix(variant: Variant) -> str:
    """The prefix of a variant's names, in lower case: `yolov8n_320_split_normal_64`.

    A C name has no dots, dashes or leading digits, and a macro's name is the prefix in capitals; a model's name that
    has to be changed for that gets six digits of its checksum, so that `a-b`, `a.b`, `A_B` and `a_b` stay four models.
    The part after the model's name has a known form, so that a prefix is never a keyword and never that of two
    variants.
    """
    return "_".join([_model(variant.model), variant.imgsz, variant.head, variant.algorithm, str(variant.max_images)])


def _model(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    letter = "" if re.match(r"[a-z]", words) else "m"
    return f"{letter}{words}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
