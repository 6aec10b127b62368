"""rknn-toolkit2 without torch, which takes two seconds to import and 5 GB on disk, and is not needed here.

The toolkit imports torch when it is imported, for three names. They belong to the algorithm `gdq`, which this project
does not offer, so a stand-in provides them. Later, for graphs with a Reshape that moves data (the head `single`,
attention), it uses three functions of torch to compute where each element of a tensor goes. That is integer arithmetic,
done here by NumPy. Any other use of torch loads the real one. Outputs are the same bit for bit, which a test checks.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

import numpy as np

from lib.step.errors import UserError


class _Placeholder:
    """Stands in for a base class, a decorator and a type in an annotation."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, decorated=None, *args, **kwargs):
        return decorated


_PLACEHOLDERS = {("torch", "Tensor"), ("torch", "no_grad"), ("torch.nn", "Module")}


def _split(tensor: np.ndarray, sizes: list[int], dim: int) -> list[np.ndarray]:
    """Parts of `sizes` along the axis `dim`, as torch.split gives them."""
    return np.split(tensor, np.cumsum(sizes)[:-1], axis=dim)


def _cat(tensors: list[np.ndarray], dim: int) -> np.ndarray:
    """The tensors joined along the axis `dim`, as torch.cat joins them."""
    return np.concatenate(tensors, axis=dim)


# The toolkit calls these with integers; it uses only `reshape` and `tolist` of the results, which arrays have too.
_BY_NUMPY = {("torch", "arange"): np.arange, ("torch", "split"): _split, ("torch", "cat"): _cat}


class _Deferred(ModuleType):
    """A module that is loaded when one of its names is used, except _PLACEHOLDERS during the toolkit's import and
    _BY_NUMPY.
    """

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        if _finder.active and (self.__name__, name) in _PLACEHOLDERS:
            return _Placeholder
        if (self.__name__, name) in _BY_NUMPY:
            return _BY_NUMPY[self.__name__, name]
        _finder.stop()
        try:
            return getattr(importlib.import_module(self.__name__), name)
        except ModuleNotFoundError:
            raise UserError(
                f"the toolkit needs {self.__name__}.{name}, but this environment has no torch; run `make setup`"
            ) from None


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a stand-in for torch and its submodules, while it is active."""

    active = False

    def start(self) -> None:
        self.active = True
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """From here on, every import of torch gives the real one."""
        self.active = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _Deferred):
                del sys.modules[name]

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Deferred(spec.name)

    def exec_module(self, module):
        pass


_finder = _Finder()


@contextlib.contextmanager
def deferred_torch():
    """While this is open, `import torch` gives a stand-in, which loads torch when more of it is used, also later."""
    if "torch" in sys.modules:
        yield
        return
    _finder.start()
    try:
        yield
    finally:
        _finder.stop()
