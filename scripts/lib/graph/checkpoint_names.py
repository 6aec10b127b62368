"""The classes' names in a checkpoint, read without running anything that is in it."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path


class _Anything:
    """Stands for an object of any class: it keeps its state and can do nothing."""

    def __init__(self, *args, **kwargs):
        self.state = {}

    def __setstate__(self, state):
        self.state = state[0] if isinstance(state, tuple) and state else state

    def __call__(self, *args, **kwargs):
        return _Anything()

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        """As a list's."""

    def extend(self, values):
        """As a list's."""


class _Reader(pickle.Unpickler):
    """Reads a pickle in which every class but Python's plain ones is `_Anything`: none is imported, none runs."""

    def find_class(self, module, name):
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Anything

    def persistent_load(self, pid):
        return None


def checkpoint_names(path: Path) -> list[str] | None:
    """The names of the classes 0..n-1 in one of Ultralytics' checkpoints; None where the file holds none to be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            [member] = [name for name in archive.namelist() if name.endswith("data.pkl")]
            checkpoint = _Reader(io.BytesIO(archive.read(member))).load()
        model = checkpoint.get("ema") or checkpoint["model"]
        names = model.state["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        return [str(names[number]) for number in range(len(names))]
    except Exception:  # a damaged pickle raises anything; whoever loads the checkpoint says what is wrong with it
        return None
