"""The house keeps its order: a package of scripts/lib imports only from itself and from those below it."""

import ast
import functools
import json
import re
import subprocess
import sys
import tempfile
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


def test_files_of_tests_have_names_of_their_own():
    """pytest imports them by their names alone, and leaves out the second of one name with an error."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


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


# Where Darknet is named: its own files' reader, its decoding, the commands that its files are given to.
NAMES_DARKNET = ("lib/graph/darknet/*.py", "lib/detector/families/anchors.py", "darknet_to_onnx.py")
READS_ITS_FILES = "export_onnx.py"  # imports the reader
MEANS_ITS_FILES = ("download_weights.py", "lib/results/config_problems.py")  # tell people what an option is for


def words_of(source: str) -> tuple[set[str], set[str]]:
    """The names that a module's code uses, and its texts; docstrings and comments are neither."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
    }
    names, texts = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            texts |= {node.value} if isinstance(node.value, str) and id(node) not in docs else set()
            continue
        for _, value in ast.iter_fields(node):
            names |= {value} if isinstance(value, str) else set()
    return names, texts


def test_names_and_texts_of_a_module_are_told_apart():
    source = '"""A darknet."""\nimport a.darknet as b\ndef darknets(c):  # darknet\n    return f"{c} Darknet\'s"\n'
    names, texts = words_of(source)
    assert {"a.darknet", "darknets", "b", "c"} <= names and texts == {" Darknet's"}


def test_nothing_but_the_reader_of_its_files_and_its_family_names_darknet():
    scripts = ROOT / "scripts"
    meant = {path for pattern in NAMES_DARKNET for path in scripts.glob(pattern)}
    named = {}
    for path in sorted(set(scripts.rglob("*.py")) - meant):
        where = str(path.relative_to(scripts))
        names, texts = words_of(path.read_text())
        words = names if where in MEANS_ITS_FILES else names | texts
        if found := sorted(word for word in words if "darknet" in word.lower()):
            named[where] = found
    assert named == {READS_ITS_FILES: ["lib.graph.darknet.convert"]}


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
    "matplotlib": {"analyse_layers", "calibration_study", "collect", "draw_detections", "show_detections"},
    "pandas": {
        "analyse_layers", "calibration_study", "collect", "draw_detections", "frontier", "make_bundle", "make_report",
        "run_on_board", "show_detections", "toolkit_study",
    },
    "faster_coco_eval": {"evaluate", "evaluate_draws", "make_bundle", "make_report", "onnx_to_rknn", "run_on_board",
                         "toolkit_study"},
}  # fmt: skip
STEPS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


# `python STEP --help`, which then writes the file of each module that it has imported.
ASKED_FOR_HELP = """
import json, runpy, sys
listed, *sys.argv = sys.argv[1], sys.argv[2], "--help"
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    with open(listed, "w") as file:
        json.dump({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}, file)
"""


@functools.cache
def asked_for_help(step_name: str) -> tuple[subprocess.CompletedProcess, dict[str, str | None]]:
    """The finished process of a step in a Python of its own, and the file of each module that it imported."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as listed:
        command = [sys.executable, "-c", ASKED_FOR_HELP, listed.name, ROOT / "scripts" / f"{step_name}.py"]
        done = subprocess.run(command, capture_output=True, text=True)
        return done, json.loads(listed.read())


def modules_of(step_name: str) -> dict[str, str | None]:
    """What a process of the step has imported: the file of each module by its name."""
    return asked_for_help(step_name)[1]


@pytest.mark.parametrize("step_name", STEPS)
def test_every_step_has_help(step_name):
    done, _ = asked_for_help(step_name)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


@pytest.mark.parametrize("step_name", STEPS)
def test_a_step_imports_what_it_uses_and_nothing_heavy_else(step_name):
    heavy = HEAVY.keys() & modules_of(step_name).keys()
    assert heavy <= {name for name, steps in HEAVY.items() if step_name in steps}


@pytest.mark.parametrize("step_name", STEPS)
def test_all_files_that_a_step_imports_are_among_its_sources(step_name):
    files = {file for name, file in modules_of(step_name).items() if name == "lib" or name.startswith("lib.")}
    assert {str(Path(file).relative_to(ROOT)) for file in files} <= set(step_sources(step_name, ROOT))


def test_a_step_that_makes_temporary_folders_is_supervised():
    """Else a signal leaves them behind; `supervise` deletes them whatever ends the step."""
    makes = re.compile(r"tempfile\.(TemporaryDirectory|mkdtemp|NamedTemporaryFile)\(")
    unsupervised = set()
    for path in (ROOT / "scripts").glob("*.py"):
        sources = [ROOT / name for name in step_sources(path.stem, ROOT) if name.endswith(".py")]
        if "supervise(main)" not in path.read_text() and any(
            makes.search(source.read_text()) for source in sources if LIB / "step" not in source.parents
        ):
            unsupervised.add(path.stem)
    # start only looks at a zip's texts; set_up has none of lib.
    assert unsupervised == {"start", "set_up"}
