"""The bundle's own check: nothing in it was changed, its parts say the same, and what it decodes is what it expects."""

import tempfile
from pathlib import Path

from lib.bundle import program
from lib.bundle.agreement import compare
from lib.bundle.contract import outputs_of
from lib.bundle.model_h import model_h
from lib.bundle.proof import recompute
from lib.npu.rknn_file import read_rknn
from lib.step.errors import UserError
from lib.step.files import read_json, require, sha256

CONTRACT, CHECKSUMS = "model.json", "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS over all files of a bundle, as `sha256sum -c` reads it."""
    (folder / CHECKSUMS).write_text("".join(f"{sum}  {name}\n" for name, sum in checksums(folder).items()))


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below `folder` but SHA256SUMS, by its path there, sorted."""
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name: sha256(folder / name) for name in files if name != CHECKSUMS}


def problems(folder: Path, cc: list[str], emulator: tuple[str, ...] = ()) -> list[str]:
    """Everything that is wrong with the bundle in `folder`, a sentence each.

    `cc` compiles its program, `emulator` runs it. Raises UserError when there is no bundle to look at.
    """
    agreed = read_json(require(folder / CONTRACT, "contract"))
    checks = (
        lambda: _checksums(folder),
        lambda: _same_files(folder, agreed),
        lambda: _same_model(folder, agreed),
        lambda: _same_constants(folder, agreed),
        lambda: _python_finds(folder, agreed),
        lambda: _program_finds(folder, cc, emulator),
    )
    found = []
    for check in checks:
        try:
            found += check()
        except UserError as error:
            found.append(str(error))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
            found.append(f"{CONTRACT} or another file is damaged ({type(error).__name__}: {error})")
    return found


def _checksums(folder: Path) -> list[str]:
    listed = dict(line.split("  ", 1)[::-1] for line in (folder / CHECKSUMS).read_text().splitlines())
    return _differences(listed, checksums(folder), CHECKSUMS)


def _same_files(folder: Path, agreed: dict) -> list[str]:
    present = {name: sum for name, sum in checksums(folder).items() if name != CONTRACT}
    return _differences(agreed["files"], present, CONTRACT)


def _differences(listed: dict, present: dict, where: str) -> list[str]:
    return [
        f"{name} is {'missing' if name not in present else 'not listed' if name not in listed else 'changed'} ({where})"
        for name in sorted(set(listed) | set(present))
        if listed.get(name) != present.get(name)
    ]


def _same_model(folder: Path, agreed: dict) -> list[str]:
    model = read_rknn(folder / "model.rknn")
    return [
        f"output '{told.name}' is {tuple(told)} in {CONTRACT}, {tuple(real)} in model.rknn"
        for told, real in zip(outputs_of(agreed), model.outputs, strict=True)
        if told != real
    ]


def _same_constants(folder: Path, agreed: dict) -> list[str]:
    same = (folder / "model.h").read_text() == model_h(agreed)
    return [] if same else [f"model.h is not what {CONTRACT} gives"]


def _python_finds(folder: Path, agreed: dict) -> list[str]:
    expected = program.read_detections((folder / "golden" / "detections.txt").read_text())
    try:
        compare(expected, recompute(agreed, folder / "golden"))
    except UserError as error:
        return [f"golden outputs decoded by {CONTRACT}: {error}"]
    return []


def _program_finds(folder: Path, cc: list[str], emulator: tuple[str, ...]) -> list[str]:
    expected = program.read_detections((folder / "golden" / "detections.txt").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        program.build(folder, cc, binary)
        try:
            compare(expected, program.run(binary, folder / "golden", emulator=emulator))
        except UserError as error:
            return [f"golden outputs decoded by main.c: {error}"]
    return []
