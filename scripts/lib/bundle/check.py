"""Checks a bundle: no file was changed, its files agree, and it decodes the golden outputs as expected."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from lib.bundle import COMPILED, program
from lib.bundle.contract import CONTRACT, Contract
from lib.bundle.layout import as_map
from lib.bundle.model_h import model_h
from lib.bundle.proof import recompute
from lib.bundle.same_detections import demand_same
from lib.detector.instances import Instances
from lib.npu.rknn_file import read_rknn
from lib.step.errors import UserError
from lib.step.files import read_json, require, sha256

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS over all files of a bundle, for `sha256sum -c`."""
    (folder / CHECKSUMS).write_text(
        "".join(f"{checksum}  {name}\n" for name, checksum in checksums(folder).items()), encoding="utf-8"
    )


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below `folder` but SHA256SUMS and compiled programs, by its path there, sorted."""
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name: sha256(folder / name) for name in files if name not in (CHECKSUMS, *COMPILED)}


def is_bundle(folder: Path) -> bool:
    """Whether `folder` holds only files of a bundle and its compiled programs; the bundle may be incomplete."""
    listed = folder / CHECKSUMS
    if not listed.is_file() or not (folder / CONTRACT).is_file():
        return False
    own = {line.partition("  ")[2] for line in listed.read_text(encoding="utf-8", errors="replace").splitlines()}
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} <= own | {
        CHECKSUMS,
        *COMPILED,
    }


def expected_detections(folder: Path) -> int:
    """How many detections the golden files of a sound bundle compare."""
    return len(_expected(folder, Contract.of_bundle(folder)))


def problems(folder: Path, cc: list[str], emulator: tuple[str, ...] = ()) -> list[str]:
    """List what is wrong with the bundle in `folder`, one sentence per problem.

    `cc` compiles its program, `emulator` runs it. Raises UserError when there is no bundle.
    """
    stored = read_json(require(folder / CONTRACT, "contract"))
    changed = _result(lambda: _checksums(folder))
    try:
        contract = Contract.from_json(stored, folder / CONTRACT)
    except UserError as error:
        return [*changed, str(error)]
    checks = (
        lambda: _same_files(folder, contract),
        lambda: _same_model(folder, contract),
        lambda: _same_constants(folder, contract),
        lambda: _python_finds(folder, contract),
        lambda: _program_finds(folder, contract, cc, emulator),
    )
    return changed + [problem for check in checks for problem in _result(check)]


def _result(check: Callable[[], list[str]]) -> list[str]:
    """The problems that a check finds; an error of the check is a problem too."""
    try:
        return check()
    except UserError as error:
        return [str(error)]
    except (ValueError, IndexError, ArithmeticError, OSError) as error:
        return [f"{CONTRACT} or another file is damaged ({type(error).__name__}: {error})"]


def _checksums(folder: Path) -> list[str]:
    listed = dict(line.split("  ", 1)[::-1] for line in (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines())
    links = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_symlink())
    return [
        *(f"{name} is a link, but a bundle has only files" for name in links),
        *_differences(listed, checksums(folder), CHECKSUMS),
    ]


def _same_files(folder: Path, contract: Contract) -> list[str]:
    present = {name: checksum for name, checksum in checksums(folder).items() if name != CONTRACT}
    return _differences(contract.files, present, CONTRACT)


def _differences(listed: dict, present: dict, where: str) -> list[str]:
    return [
        f"{name} is {'missing' if name not in present else 'not listed' if name not in listed else 'changed'} ({where})"
        for name in sorted(set(listed) | set(present))
        if listed.get(name) != present.get(name)
    ]


def _same_model(folder: Path, contract: Contract) -> list[str]:
    model = read_rknn(folder / "model.rknn")
    return [
        f"output '{described.name}' is {tuple(described)} in {CONTRACT}, but {tuple(built)} in model.rknn"
        for described, built in zip(contract.tensors(), map(as_map, model.outputs), strict=True)
        if described != built
    ]


def _same_constants(folder: Path, contract: Contract) -> list[str]:
    same = (folder / "model.h").read_text(encoding="utf-8") == model_h(contract)
    return [] if same else [f"model.h is not what {CONTRACT} gives"]


def _python_finds(folder: Path, contract: Contract) -> list[str]:
    expected = _expected(folder, contract)
    try:
        demand_same(expected, recompute(contract, folder / "golden"), contract.output_spec().task)
    except UserError as error:
        return [f"golden outputs decoded by {CONTRACT}: {error}"]
    return []


def _expected(folder: Path, contract: Contract) -> Instances:
    text = (folder / "golden" / "detections.txt").read_text(encoding="utf-8")
    return program.read_detections(text, contract.output_spec())


def _program_finds(folder: Path, contract: Contract, cc: list[str], emulator: tuple[str, ...]) -> list[str]:
    code = [name for name, checksum in checksums(folder).items() if contract.files.get(name) != checksum]
    code = [name for name in code if name.endswith((".c", ".h"))]
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        program.build(folder, cc, binary)
        if code:
            return [f"main.c is not run, because {', '.join(code)} is not what {CONTRACT} lists"]
        spec = contract.output_spec()
        try:
            detections = program.run(binary, folder / "golden", spec=spec, emulator=emulator)
            demand_same(_expected(folder, contract), detections, spec.task)
        except UserError as error:
            return [f"golden outputs decoded by main.c: {error}"]
    return []
