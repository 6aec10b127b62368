"""The formats of data sets by their names in the config.

Not in the package itself: most steps need only the interface of the formats, and importing all of them takes time.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from lib.data import formats

_modules = (import_module(f"{formats.__name__}.{module.name}") for module in iter_modules(formats.__path__))
FORMATS: dict[str, ModuleType] = {module.KEY: module for module in _modules if hasattr(module, "KEY")}
