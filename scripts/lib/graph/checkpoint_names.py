"""The classes' names and the task in a checkpoint, read without running anything that is in it."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple


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


class CheckpointFacts(NamedTuple):
    """What one of Ultralytics' checkpoints says of its model.

    names: of the classes 0..n-1. task: as Ultralytics calls it; None where it does not say. kpt_shape: keypoints of an
    object and values of each, of a model for pose.
    """

    names: list[str]
    task: str | None
    kpt_shape: list[int] | None


def checkpoint_facts(path: Path) -> CheckpointFacts | None:
    """What one of Ultralytics' checkpoints says of its model; None where the file holds nothing to be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            [member] = [name for name in archive.namelist() if name.endswith("data.pkl")]
            checkpoint = _Reader(io.BytesIO(archive.read(member))).load()
        model = checkpoint.get("ema") or checkpoint["model"]
        names = model.state["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        names = [str(names[number]) for number in range(len(names))]
        # As the export's own reader looks for it; older ones kept it with the model alone.
        task = (checkpoint.get("train_args") or {}).get("task") or model.state.get("task")
        return CheckpointFacts(names, task, model.state.get("kpt_shape"))
    except Exception:  # a damaged pickle raises anything; whoever loads the checkpoint says what is wrong with it
        return None
