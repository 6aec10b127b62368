"""Changed C code of a bundle is not run, and each program has a time limit."""

from types import SimpleNamespace

import pytest

from lib.bundle import check, program
from lib.data.imgsz import ImageSize
from lib.detector.families.distances import Distances
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec
from lib.step.errors import UserError
from lib.step.files import sha256

MAIN = '#include <stdio.h>\nint main(void) {{ fclose(fopen("{mark}", "w")); return 0; }}\n'


@pytest.fixture
def folder(tmp_path):
    """A bundle's folder with a program that writes a file when it runs, and with empty golden detections."""
    folder = tmp_path / "bundle"
    (folder / "golden").mkdir(parents=True)
    (folder / "golden" / "detections.txt").touch()
    (folder / "main.c").write_text(MAIN.format(mark=tmp_path / "mark"))
    return folder


def test_changed_code_is_not_run(folder, tmp_path):
    spec = OutputSpec(ImageSize(96, 64), SPLIT, Distances(), classes=2)
    contract = SimpleNamespace(files={"main.c": sha256(folder / "main.c")}, output_spec=lambda: spec)
    (folder / "decode.h").touch()
    [said] = check._program_finds(folder, contract, program.compiler(), ())
    assert (
        said == "main.c is not run, because decode.h is not what model.json lists" and not (tmp_path / "mark").exists()
    )
    (folder / "decode.h").unlink()
    assert check._program_finds(folder, contract, program.compiler(), ()) == []
    assert (tmp_path / "mark").exists()


def test_a_program_without_end_is_stopped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "TIMEOUT_S", 1)
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nexec sleep 60\n")
    endless.chmod(0o755)
    with pytest.raises(UserError, match=r"^the decoder did not end within 1 s"):
        program.run(endless, folder)
    with pytest.raises(UserError, match=r"^the compiler of main.c did not end within 1 s"):
        program.build(folder, [str(endless)], tmp_path / "binary")
