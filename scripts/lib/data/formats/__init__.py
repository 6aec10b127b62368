"""Data sets in, a file a format: each says where its file or folder is in a zip, and what images and labels it holds.

A file here with a `KEY` is found by itself. KEY is the format's name in the config's `dataset`; `find(root, hints)`
gives the file or folder to read in an unpacked zip or a folder; `read(that, hints)` gives a `Source`. Both raise
UserError.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

_modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
FORMATS: dict[str, ModuleType] = {module.KEY: module for module in _modules if hasattr(module, "KEY")}
