"""The house keeps its order: a package of scripts/lib imports only from itself and from those below it."""

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from lib.step.step_sources import step_sources

LIB = ROOT / "scripts" / "lib"
# From the bottom up.
PACKAGES = ("step", "data", "detector", "tasks", "npu", "graph", "accuracy", "convert", "results", "bundle", "board")


def imported_packages(source: str) -> set[str]:
    """The packages of lib that a module's text imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "lib":
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lib."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {each.name.split(".")[1] for each in node.names if each.name.startswith("lib.")}
    return found


def test_imports_are_found_wherever_they_stand():
    source = "import lib.graph.surgery\nfrom lib import npu\ndef f():\n    from lib.data.imgsz import parse_imgsz\n"
    assert imported_packages(source) == {"graph", "npu", "data"}


def test_lib_is_made_of_these_packages_alone():
    here = {path.name for path in LIB.iterdir() if path.name != "__pycache__"}
    assert here == {"__init__.py", *PACKAGES}
    for name in PACKAGES:
        assert ast.get_docstring(ast.parse((LIB / name / "__init__.py").read_text())), name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_those_below_it(package):
    allowed = set(PACKAGES[: PACKAGES.index(package) + 1])
    modules = sorted((LIB / package).rglob("*.py"))
    assert modules
    wrong = {
        str(module.relative_to(LIB)): sorted(above)
        for module in modules
        if (above := imported_packages(module.read_text()) - allowed)
    }
    assert wrong == {}


def test_tests_lie_in_the_folders_of_what_they_protect():
    here = {path.name for path in Path(ROOT, "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert here == {*PACKAGES, "workflow"}


def test_files_of_a_step_are_what_its_imports_bring_along(tmp_path):
    def write(name, text=""):
        path = tmp_path / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write(
        "walk.py",
        "import sys\nfrom lib.feet import (\n    left,\n    right as other,\n)\nfrom lib import shoes  # why\n",
    )
    write("lib/__init__.py")
    write("lib/feet/__init__.py")
    write("lib/feet/left.py", "def f():\n    from lib.toes import big\n    return big\n")
    write("lib/feet/right.py")
    write("lib/feet/unused.py")
    write("lib/feet/page.html")
    write("lib/shoes.py", "from lib.feet import nothing, left\nfrom lib.laces import knot\n")
    write("lib/laces/__init__.py", "for module in iter_modules(__path__):\n    import_module(module)\n")
    write("lib/laces/long.py", "from lib.wool import red\n")
    write("lib/laces/short/__init__.py")
    write("lib/laces/short/unused.py")
    write("lib/wool.py")
    write("lib/toes.py", "big = 1\n")
    write("lib/hands.py", "from lib.toes import big\n")
    found = {
        "scripts/lib/__init__.py", "scripts/lib/feet/__init__.py", "scripts/lib/feet/left.py",
        "scripts/lib/feet/page.html", "scripts/lib/feet/right.py", "scripts/lib/laces/__init__.py",
        "scripts/lib/laces/long.py", "scripts/lib/laces/short/__init__.py", "scripts/lib/shoes.py",
        "scripts/lib/toes.py", "scripts/lib/wool.py",
    }  # fmt: skip
    assert step_sources("walk", tmp_path) == ["scripts/walk.py", *sorted(found)]
    # A file that changes is read again.
    write("lib/toes.py", "from lib.hands import thumb  # and more than before\n")
    assert step_sources("walk", tmp_path) == ["scripts/walk.py", *sorted(found | {"scripts/lib/hands.py"})]


def test_a_registry_brings_along_all_that_lies_in_its_folder(tmp_path):
    lib = tmp_path / "scripts" / "lib"
    for name in ("shoes/boots", "shoes/pumps"):
        (lib / name).mkdir(parents=True)
        (lib / name / "__init__.py").write_text("from lib.leather import hide\n")
    (lib / "shoes" / "__init__.py").write_text("for each in iter_modules(__path__):\n    import_module(each.name)\n")
    (lib / "shoes" / "sandals.py").touch()
    (lib / "leather.py").touch()
    (lib / "__init__.py").touch()
    (tmp_path / "scripts" / "walk.py").write_text("from lib import shoes\n")
    brought = ["__init__", "leather", "shoes/__init__", "shoes/boots/__init__", "shoes/pumps/__init__", "shoes/sandals"]
    assert step_sources("walk", tmp_path) == ["scripts/walk.py", *(f"scripts/lib/{name}.py" for name in brought)]


# What takes long to import, and the steps that need it. The toolkit is imported where it is called.
HEAVY = {
    "torch": set(),
    "rknn": set(),
    "ultralytics": set(),
    "onnxslim": {"simplify_onnx", "frontier", "inspect_onnx", "onnx_to_rknn"},
    "matplotlib": {"analyse_layers", "calibration_study", "collect", "show_detections"},
    "pandas": {
        "analyse_layers", "calibration_study", "collect", "frontier", "make_bundle", "make_report", "run_on_board",
        "show_detections",
    },
    "faster_coco_eval": {"evaluate", "make_bundle", "make_report", "onnx_to_rknn", "run_on_board"},
}  # fmt: skip
STEPS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


@functools.cache
def modules_of(step_name: str) -> dict[str, str | None]:
    """What a process has imported that imported the step: the file of each module by its name."""
    code = (
        f"import sys, json, {step_name}\n"
        "files = {name: getattr(module, '__file__', None) for name, module in sys.modules.items()}\n"
        "json.dump(files, sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("step_name", STEPS)
def test_a_step_imports_what_it_uses_and_nothing_heavy_else(step_name):
    heavy = HEAVY.keys() & modules_of(step_name).keys()
    assert heavy <= {name for name, steps in HEAVY.items() if step_name in steps}


@pytest.mark.parametrize("step_name", STEPS)
def test_all_files_that_a_step_imports_are_among_its_sources(step_name):
    files = {file for name, file in modules_of(step_name).items() if name == "lib" or name.startswith("lib.")}
    assert {str(Path(file).relative_to(ROOT)) for file in files} <= set(step_sources(step_name, ROOT))
