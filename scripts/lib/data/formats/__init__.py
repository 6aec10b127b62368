"""Formats of data sets, one file per format: each finds its file or folder in a zip and reads its images and labels.

A file here with a `KEY` is registered automatically. KEY is the format's name in the config's `dataset`. `find(root,
hints)` gives the file or folder to read in a folder or unpacked zip; `read(place, hints)` reads it into a `Source`.
Both raise UserError.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

_modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
FORMATS: dict[str, ModuleType] = {module.KEY: module for module in _modules if hasattr(module, "KEY")}
