"""Commands and links of README and docs mean something that is there: a renamed option, target or file fails here.

Nothing is run: commands are read by the parsers of the programs that they call.
"""

import ast
import contextlib
import functools
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml
from conftest import ROOT
from snakemake.utils import update_config

from lib.data.published import with_published
from lib.results.columns import COLUMNS
from lib.results.config_problems import problems
from lib.step import supervisor
from lib.step.config import with_numbers
from lib.step.errors import run_step

PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    + [ROOT / folder / "README.md" for folder in ("config", "tests", "example")]
    + list((ROOT / "docs").glob("*.md"))
)
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python (?:scripts|benchmarks)/|make |snakemake |dvc |pytest )[^`]+)`")
# What the system or the board brings.
OTHERS = {"apt-get", "cd", "git", "podman", "scp", "sha256sum", "source", "ssh", "sudo"}
# A word that stands for what the reader knows: an ellipsis, or a name in capitals.
PLACEHOLDER = re.compile(r".*…|[A-Z]+(\.py)?")


def commands(text: str) -> list[list[str]]:
    """The words of each command in a page: those of its `sh` blocks, and those in running text."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for line in [*lines, *INLINE.findall(FENCED.sub("", text))]:
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command = []
        for word in [*words, ";"]:
            if set(word) <= set(";&|"):
                found += [command] if command else []
                command = []
            else:
                command.append(word)
    return found


def problem(words: list[str]) -> str | None:
    """What is wrong with a command; None when it could be run."""
    program, *rest = words
    program = program.removeprefix(".venv/bin/")  # without the environment switched on
    if PLACEHOLDER.fullmatch(rest[0] if program == "python" else ""):
        return None
    checks = {"python": _python, "make": _make, "snakemake": _snakemake, "dvc": _dvc, "pytest": _pytest}
    if program in checks:
        return checks[program](rest)
    return None if program in OTHERS else f"no check for the program {program}"


def _python(words: list[str]) -> str | None:
    path, *rest = words
    if PLACEHOLDER.fullmatch(Path(path).name):
        return None
    if not (ROOT / path).is_file():
        return f"there is no {path}"
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_of(path)))
    unknown = [word for word in rest if word.startswith("-") and word.split("=")[0] not in known]
    return f"{path} has no option {unknown[0]}" if unknown else None


@functools.cache
def help_of(path: str) -> str:
    """What a script prints for `--help`, run in this process: imports are shared."""
    printed = io.StringIO()
    with (
        mock.patch.object(sys, "argv", [path, "--help"]),
        mock.patch.object(supervisor, "supervise", run_step),  # which runs it in another process
        contextlib.redirect_stdout(printed),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(str(ROOT / path), run_name="__main__")
    assert ended.value.code == 0
    return printed.getvalue()


def _make(words: list[str]) -> str | None:
    makefile = ROOT / "Makefile"
    if words[0] == "-C":  # of a bundle
        makefile, words = ROOT / "scripts" / "lib" / "bundle" / "Makefile", words[2:]
    text = makefile.read_text()
    for word in words:
        name, is_variable, _ = word.partition("=")
        known = rf"\b{name}\b" if is_variable else rf"^{re.escape(name)}:"
        if not re.search(known, text, re.MULTILINE):
            return f"{makefile.relative_to(ROOT)} has no {word}"
    return None


def _snakemake(words: list[str]) -> str | None:
    # Options of the executor plugin for Slurm are there only after `make slurm`.
    plain = re.sub(r" --slurm-\S+( [^-\s]\S*)?", "", f" {shlex.join(words)}")
    args = _parsed(_snakemake_parser(), shlex.split(plain))
    if isinstance(args, str):
        return args
    targets = getattr(args, "targets", None) or getattr(args, "target", None) or []
    if unknown := [each for each in targets if each not in rules() and not PLACEHOLDER.fullmatch(each)]:
        return f"there is no rule {unknown[0]}"
    for path in args.configfile or []:
        if not (ROOT / path).is_file() and f"# {path}" not in (ROOT / "config" / "README.md").read_text():
            return f"there is no {path}, nor a recipe for it"
    return config_problem(args.config or [], [ROOT / path for path in args.configfile or [] if (ROOT / path).is_file()])


@functools.cache
def _snakemake_parser():
    try:
        from snakemake.cli import get_argument_parser
    except ImportError:  # Snakemake 7
        from snakemake import get_argument_parser
    return get_argument_parser()


def config_problem(pairs: list[str], overlays: list[Path] = ()) -> str | None:
    """What is wrong with the words after `--config`, laid over the overlays and the default config."""
    schema = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    for overlay in overlays:
        update_config(config, yaml.safe_load(overlay.read_text()))
    for pair in pairs:
        name, _, value = pair.partition("=")
        update_config(config, {name: yaml.safe_load(value)})
    return "; ".join(problems(with_numbers(with_published(config), schema), schema)) or None


@functools.cache
def rules() -> set[str]:
    """The names of all rules."""
    text = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")])
    return set(re.findall(r"^(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE))


def _dvc(words: list[str]) -> str | None:
    from dvc.cli.parser import get_main_parser

    args = _parsed(get_main_parser(), words)
    if isinstance(args, str):
        return args
    if words[0] == "repro":
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        if unknown := [each for each in args.targets or [] if each not in stages]:
            return f"dvc.yaml has no stage {unknown[0]}"
    for change in getattr(args, "set_param", None) or []:
        path, _, rest = change.partition(":")
        value = yaml.safe_load((ROOT / path).read_text())
        for key in rest.partition("=")[0].split("."):
            if key not in value:
                return f"{path} has no {key}"
            value = value[key]
    return None


def _pytest(words: list[str]) -> str | None:
    unknown = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
    if "-m" in words and "toolkit" not in words[words.index("-m") + 1]:
        return "there is no such marker"
    return f"there is no {unknown[0]}" if unknown else None


def _parsed(parser, words: list[str]):
    """What an argparse parser makes of words, or its complaint."""
    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(complaint):
        try:
            return parser.parse_args(words)
        except SystemExit:
            return complaint.getvalue().strip().splitlines()[-1]
        except Exception as error:  # DVC's parser raises one of its own
            return f"{type(error).__name__}: {error}"


def test_make_demo_prints_the_columns_that_matter_and_zero_is_not_light(tmp_path):
    if not shutil.which("make"):
        pytest.skip("needs make")
    names = [column.name for column in COLUMNS]
    table = tmp_path / "table.md"
    table.write_text("".join(f"| {' | '.join(row)} |\n" for row in (names, [f"{name} 1" for name in names])))
    rule = f"shown:;@$(SOME_COLUMNS) {table}"
    shown = subprocess.run(["make", "-s", f"--eval={rule}", "shown"], cwd=ROOT, capture_output=True, text=True).stdout
    expected = [
        "model", "imgsz", "head", "max_images", "map50_95_fp32", "map50_95_int8", "retention", "rknn_mb", "verdict",
        "ms_low", "ms_high",
    ]  # fmt: skip
    rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
    assert rows == [["", *expected, ""], ["", *(f"{name} 1" for name in expected), ""]]
    for given, option in (("LIGHT=1", "--light"), ("LIGHT=0", "")):
        made = subprocess.run(
            ["make", "-nB", "setup", given], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert made.splitlines()[0].rstrip() == f"python3 scripts/set_up.py {option}".rstrip()


def test_make_knows_what_to_do_for_each_of_its_targets():
    if not shutil.which("make"):
        pytest.skip("needs make")
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
    assert targets and done.returncode == 0, done.stderr


def test_every_command_of_the_docs_is_there():
    found = {(str(page.relative_to(ROOT)), *words) for page in PAGES for words in commands(page.read_text())}
    assert len(found) > 50
    assert {words[1] for words in found} >= {"python", "make", "snakemake", "dvc", "pytest"}
    wrong = {f"{page}: {shlex.join(words)}": told for page, *words in sorted(found) if (told := problem(words))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("python scripts/no_such.py", "there is no scripts/no_such.py"),
        ("python scripts/judge.py --no-such 1", "scripts/judge.py has no option --no-such"),
        ("make nothing", "Makefile has no nothing"),
        ("make setup PYTHONS=3", "Makefile has no PYTHONS=3"),
        ("make -C bundle SKD=x", "scripts/lib/bundle/Makefile has no SKD=x"),
        ("snakemake -j4 bundel", "there is no rule bundel"),
        ("snakemake -j4 --no-such", "unrecognized arguments: --no-such"),
        ("snakemake -j4 --configfile other.yaml", "there is no other.yaml"),
        ("snakemake --config 'sweep={imgs: [320]}'", "sweep.imgs is not a known key"),
        ("dvc repro nothing", "dvc.yaml has no stage nothing"),
        ("dvc exp run -S config/demo.yaml:sweep.imgs=[1]", "config/demo.yaml has no imgs"),
        ("dvc metrics shown", "DvcParserError"),
        ("pytest tests/nothing", "there is no tests/nothing"),
        ("cd x && frobnicate", "no check for the program frobnicate"),
    ],
)
def test_a_wrong_command_is_seen(command, told):
    found = [problem(words) for words in commands(f"```sh\n{command}\n```\n")]
    assert told in str(found[-1])


def messages() -> str:
    """All texts in the code, what is filled in left out."""
    found = []
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("…".join(each.value for each in node.values if isinstance(each, ast.Constant)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    others = [*(ROOT / "rules").glob("*.smk"), *(ROOT / "scripts" / "lib" / "bundle").glob("*.c")]
    return "\n".join(found + [path.read_text() for path in sorted(others)])


@pytest.mark.parametrize("page", ["troubleshooting.md", "board.md"])
def test_every_message_that_the_docs_explain_is_one_of_ours(page):
    text = (ROOT / "docs" / page).read_text()
    # What the vendor's runtime says is not in our code.
    ours = text[: text.find("## On the board")] if page == "troubleshooting.md" else text
    symptoms = [line.split(" | ")[0] for line in ours.splitlines() if line.startswith("| ")]
    parts = {each.strip(" ,;:") for words in re.findall("`([^`]+)`", " ".join(symptoms)) for each in words.split("…")}
    known = messages()
    assert len(parts) > 15
    assert [each for each in sorted(parts) if len(each) > 7 and each not in known] == []


def headings(page: Path) -> set[str]:
    """The anchors of a page, as code hosts and mkdocs name them."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_of_the_project_leads_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)\s#:]*)(?:#([^)\s]*))?\)", FENCED.sub("", page.read_text())):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        assert not anchor or anchor in headings(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_table_has_a_head_and_as_many_cells_in_each_row(page):
    """A blank line within one ends it: what follows is shown as text."""
    for table in re.findall(r"(?:^ *\|.*\n?)+", FENCED.sub("", page.read_text()), re.M):
        rows = [re.sub(r"`[^`]*`|\\\|", "", row).strip() for row in table.splitlines()]
        assert len(rows) > 1 and re.fullmatch(r"\|( *:?-+:? *\|)+", rows[1]), rows[0]
        assert {row.count("|") for row in rows} == {rows[0].count("|")}, rows[0]
