"""Which files of this project a step's command runs, read from its imports."""

import ast
from pathlib import Path


def step_sources(step: str, root: Path = Path()) -> list[str]:
    """Paths, relative to `root` and sorted, of `scripts/STEP.py` and of everything in scripts/lib it imports.

    Of a package the files that are no modules count too: templates, C code.
    """
    scripts = root / "scripts"
    found, waiting = set(), [scripts / f"{step}.py"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.name == "__init__.py":
            found.update(each for each in path.parent.iterdir() if each.is_file() and each.suffix != ".py")
        for module in _imported(ast.parse(path.read_text())):
            base = scripts.joinpath(*module.split("."))
            waiting.extend(each for each in (base.with_suffix(".py"), base / "__init__.py") if each.is_file())
    return sorted(str(path.relative_to(root)) for path in found)


def _imported(tree: ast.AST):
    """Dotted names of all modules below `lib` that are imported anywhere in `tree`, packages on the way included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lib":
            yield from _with_parents(node.module)
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _with_parents(module: str):
    words = module.split(".")
    yield from (".".join(words[: end + 1]) for end in range(len(words)))
