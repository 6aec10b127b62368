"""rknn-toolkit2 without the two seconds that importing torch takes, where it is not used.

The toolkit imports torch at its own import, for three names. It uses torch later for some graphs only (with Reshapes,
as in the head `single`). So a stand-in answers its import, and the real torch is loaded at the first
use. Outputs are the same bit for bit, which a test checks.

The three names belong to the algorithm `gdq`, which this project does not offer.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType


class _Placeholder:
    """Takes the place of a base class, of a decorator and of a type in an annotation."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, decorated=None, *args, **kwargs):
        return decorated


_PLACEHOLDERS = {("torch", "Tensor"), ("torch", "no_grad"), ("torch.nn", "Module")}


class _Deferred(ModuleType):
    """A module that is loaded when something is asked of it, but for _PLACEHOLDERS during the toolkit's import."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        if _finder.active and (self.__name__, name) in _PLACEHOLDERS:
            return _Placeholder
        _finder.stop()
        return getattr(importlib.import_module(self.__name__), name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a stand-in for torch and what is below it, while it is active."""

    active = False

    def start(self) -> None:
        self.active = True
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """From here on, and for everybody, torch is the real one."""
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
    """While this is open, `import torch` gives a stand-in; it loads torch when it is used, now or later."""
    if "torch" in sys.modules:
        yield
        return
    _finder.start()
    try:
        yield
    finally:
        _finder.stop()
