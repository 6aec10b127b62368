"""Reads the class names and the task in a checkpoint without running any code in it."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple


class _Anything:
    """Stands for an object of any class: it keeps its state and does nothing."""

    def __init__(self, *args, **kwargs):
        self.state = {}

    def __setstate__(self, state):
        self.state = state[0] if isinstance(state, tuple) and state else state

    def __call__(self, *args, **kwargs):
        return _Anything()

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        """Ignore what a list would take."""

    def extend(self, values):
        """Ignore what a list would take."""


class _Reader(pickle.Unpickler):
    """Reads a pickle with `_Anything` for every class except Python's plain ones: no class is imported or run."""

    def find_class(self, module, name):
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Anything

    def persistent_load(self, pid):
        return None


class CheckpointFacts(NamedTuple):
    """What an Ultralytics checkpoint says about its model.

    names: of the classes 0..n-1. task: Ultralytics' name for it; None where the file does not say. kpt_shape: for a
    pose model, the keypoints per object and the values per keypoint.
    """

    names: list[str]
    task: str | None
    kpt_shape: list[int] | None


def checkpoint_facts(path: Path) -> CheckpointFacts | None:
    """What an Ultralytics checkpoint says about its model; None where the file cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            [member] = [name for name in archive.namelist() if name.endswith("data.pkl")]
            checkpoint = _Reader(io.BytesIO(archive.read(member))).load()
        model = checkpoint.get("ema") or checkpoint["model"]
        names = model.state["names"]
        names = dict(enumerate(names)) if isinstance(names, list) else names
        names = [str(names[number]) for number in range(len(names))]
        # Where the export itself looks for it; older versions stored it only with the model.
        task = (checkpoint.get("train_args") or {}).get("task") or model.state.get("task")
        return CheckpointFacts(names, task, model.state.get("kpt_shape"))
    except Exception:  # a damaged pickle can raise anything; the step that loads the checkpoint reports what is wrong
        return None
