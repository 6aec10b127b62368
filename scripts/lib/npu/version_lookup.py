"""rknn-toolkit2 without pkg_resources, which takes a tenth of a second to import, and is deprecated.

The toolkit uses it only to look up its own version, which the standard library can do too. Any other use loads the real
one.
"""

import contextlib
import importlib
import importlib.metadata
import sys
from types import ModuleType

_NAME = "pkg_resources"


class _VersionLookup(ModuleType):
    """Stands in for pkg_resources."""

    @staticmethod
    def get_distribution(name: str) -> importlib.metadata.Distribution:
        """An installed distribution, of which the toolkit reads the attribute `version`."""
        return importlib.metadata.distribution(name)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        _remove()
        return getattr(importlib.import_module(_NAME), name)


def _remove() -> None:
    if isinstance(sys.modules.get(_NAME), _VersionLookup):
        del sys.modules[_NAME]


@contextlib.contextmanager
def version_lookup():
    """While this is open, `import pkg_resources` gives the stand-in, unless the real one was imported before."""
    sys.modules.setdefault(_NAME, _VersionLookup(_NAME))
    try:
        yield
    finally:
        _remove()
