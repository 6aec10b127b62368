"""What a model is called in C: names that no other model's are, so that one program can hold two."""

import hashlib
import re

from lib.results.sweep import Variant

# A name that is a C name as it is. Names with our own ending are not among them: they could be another model's.
_PLAIN = re.compile(r"(?!.*_[0-9a-f]{6}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")


def c_prefix(variant: Variant) -> str:
    """What the names of a variant begin with, in lower case: `yolov8n_320_split_normal_64`.

    A C name has no dots, dashes or leading digits, and a macro's name is the prefix in capitals; a model's name that
    has to be changed for that gets six digits of its checksum, so that `a-b`, `a.b`, `A_B` and `a_b` stay four models.
    What follows the model's name is of a known form, read from the right, and so no keyword and no two variants'
    prefix.
    """
    return "_".join([_model(variant.model), variant.imgsz, variant.head, variant.algorithm, str(variant.max_images)])


def _model(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    letter = "" if re.match(r"[a-z]", words) else "m"
    return f"{letter}{words}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
