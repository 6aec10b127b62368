"""Which files of this project a step's command runs, read from its imports."""

import os
import re
from functools import cache
from pathlib import Path

# Snakemake needs this for every rule each time it starts: parsing all files would take most of that time.
_IMPORT = re.compile(r"^[ \t]*from[ \t]+(lib(?:\.\w+)*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]+)", re.M)
# Found in a registry, a module that imports every module in its folder.
_IMPORTS_ITS_FOLDER = re.compile(r"\biter_modules\((\w+\.)?__path__\)")


def step_sources(step: str, root: Path = Path()) -> list[str]:
    """Paths, relative to `root`: first `scripts/STEP.py`, then, sorted, everything in scripts/lib that it imports.

    The files of a package that are not modules count too: templates, C code. A registry, that is a module that imports
    every module in its own folder, brings all of them.
    """
    # Text, not Path: this runs for each of some thirty rules, over the same files.
    scripts = str(root / "scripts")
    command = f"{scripts}/{step}.py"
    sources, waiting = set(), [command]
    while waiting:
        path = waiting.pop()
        if path not in sources:
            sources.add(path)
            waiting.extend(_beside(path, scripts, os.stat(path).st_mtime_ns))  # noqa: PTH116
    ordered = sorted(sources - {command}, key=lambda path: path.split("/"))
    return [f"scripts{path[len(scripts) :]}" for path in (command, *ordered)]


@cache
def _beside(path: str, scripts: str, changed_ns: int) -> tuple[str, ...]:
    """The files that `path` imports; `changed_ns`, its time of change, makes the cache notice an edit."""
    if not path.endswith(".py"):
        return ()
    source = Path(path).read_text(encoding="utf-8")
    bases = [f"{scripts}/{module.replace('.', '/')}" for module in sorted(_imported(source))]
    files = [
        file
        for base in bases
        for file in (f"{base}.py", f"{base}/__init__.py")
        if os.path.isfile(file)  # noqa: PTH113
    ]
    folder = Path(path).parent
    if path.endswith("/__init__.py"):
        files += [str(file) for file in folder.iterdir() if file.is_file() and file.suffix != ".py"]
    if _IMPORTS_ITS_FOLDER.search(source):
        files += map(str, [*folder.glob("*.py"), *folder.glob("*/__init__.py")])
    return tuple(files)


def _imported(source: str) -> set[str]:
    """Dotted names of all modules below `lib` that `source` imports anywhere, packages on the way included."""
    modules = set()
    for module, names in _IMPORT.findall(source):
        words = module.split(".")
        modules |= {".".join(words[: end + 1]) for end in range(len(words))}
        modules |= {f"{module}.{name}" for name in re.findall(r"(\w+)(?:[ \t]+as[ \t]+\w+)?", names.strip("()"))}
    return modules
