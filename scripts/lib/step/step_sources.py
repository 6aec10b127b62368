"""Which files of this project a step's command runs, read from its imports."""

import re
from functools import cache
from pathlib import Path

# Snakemake needs this for every rule each time it starts: parsing all files would take most of that time.
_IMPORT = re.compile(r"^[ \t]*from[ \t]+(lib(?:\.\w+)*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]+)", re.M)
# Found in the `__init__.py` of a package that imports every module in its folder.
_IMPORTS_ITS_FOLDER = "iter_modules(__path__)"


def step_sources(step: str, root: Path = Path()) -> list[str]:
    """Paths, relative to `root`: first `scripts/STEP.py`, then, sorted, everything in scripts/lib that it imports.

    The files of a package that are not modules count too: templates, C code. A registry, that is a package that imports
    every module in its own folder, brings all of them.
    """
    command = root / "scripts" / f"{step}.py"
    sources, waiting = set(), [command]
    while waiting:
        path = waiting.pop()
        if path not in sources:
            sources.add(path)
            waiting.extend(_beside(path, root / "scripts", path.stat().st_mtime_ns))
    return [str(path.relative_to(root)) for path in (command, *sorted(sources - {command}))]


@cache
def _beside(path: Path, scripts: Path, changed_ns: int) -> tuple[Path, ...]:
    """The files that `path` imports; `changed_ns`, its time of change, makes the cache notice an edit."""
    if path.suffix != ".py":
        return ()
    source = path.read_text(encoding="utf-8")
    bases = [scripts.joinpath(*module.split(".")) for module in sorted(_imported(source))]
    files = [file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()]
    if path.name == "__init__.py":
        files += [file for file in path.parent.iterdir() if file.is_file() and file.suffix != ".py"]
        if _IMPORTS_ITS_FOLDER in source:
            files += [*path.parent.glob("*.py"), *path.parent.glob("*/__init__.py")]
    return tuple(files)


def _imported(source: str) -> set[str]:
    """Dotted names of all modules below `lib` that `source` imports anywhere, packages on the way included."""
    modules = set()
    for module, names in _IMPORT.findall(source):
        words = module.split(".")
        modules |= {".".join(words[: end + 1]) for end in range(len(words))}
        modules |= {f"{module}.{name}" for name in re.findall(r"(\w+)(?:[ \t]+as[ \t]+\w+)?", names.strip("()"))}
    return modules
