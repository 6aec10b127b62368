"""The description of a board without a model (`detect --version`, --doctor), and the advice made from it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from sham_board import COMPILER, make_sdk, missing, sshd

import run_on_board
from lib.board.doctor import BoardFacts, advice, runtime_version
from lib.bundle import HERE
from lib.bundle.program import FLAGS
from lib.data.imgsz import ImageSize
from lib.npu.toolkit_versions import version_for
from lib.step.errors import run_step

sys.path.append(str(ROOT / "tests" / "bundle"))
from c_library import SANITIZERS
from stub_board import StubModel, build, drawn_case

STATED = BoardFacts(
    "2.3.2 (a stub)",
    (("/oem/usr/lib/librknnmrt.so", "1.6.0 (2de554906@2024-01-17T14:53:41)"),),
    "0.9.2",
    420,
    "rv1106",
    "Luckfox Pico Max",
    67584,
    30720,
    (("rkipc", 231, 1, 1),),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The files of a board with the facts STATED, for $BOARD_ROOT."""
    folder = tmp_path_factory.mktemp("root")
    files = {
        "oem/usr/lib/librknnmrt.so": b"\x7fELF\0librknnmrt version: %s\0librknnmrt version: 1.6.0 "
        b"(2de554906@2024-01-17T14:53:41)\0",
        "sys/kernel/debug/rknpu/version": b"RKNPU driver: v0.9.2\n",
        "sys/kernel/debug/rknpu/freq": b"420000000\n",
        "proc/device-tree/compatible": b"rockchip,rv1103g-38x38-ipc-v10\0rockchip,rv1106\0",
        "proc/device-tree/model": b"Luckfox Pico Max\0",
        "proc/meminfo": b"MemTotal: 1 kB\nCmaTotal:          67584 kB\nCmaFree:           30720 kB\n",
        "proc/231/comm": b"rkipc\n",
        "proc/7/comm": b"init\n",
        "dev/rknpu": b"",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "proc/231/fd").mkdir()
    (folder / "proc/231/fd/5").symlink_to("/dev/rknpu")
    return folder


def test_detect_describes_the_board_without_a_model(root, tmp_path):
    """The version of the linked runtime is found, although the program also contains the search text."""
    model = StubModel(tmp_path / "m", tmp_path / "answers", drawn_case(ImageSize(96, 64), 3, np.zeros((0, 6))))
    program = tmp_path / "detect"
    sources = (model.folder / "detect.c", model.folder / "detector.c", "-lm")
    build(program, "cc", f"-I{model.folder}", *sources, flags=("-Wpedantic", "-O0"))
    done = subprocess.run([program, "--version"], env={"BOARD_ROOT": str(root)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert BoardFacts.from_json(json.loads(done.stdout), "it") == STATED


def about(folder: Path, *flags) -> Path:
    """The program that the doctor runs."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    source = ROOT / "scripts" / "lib" / "board" / "about_board.c"
    subprocess.run(
        ["cc", *FLAGS, "-Wpedantic", *SANITIZERS, f"-I{HERE}", *flags, source, "-o", folder / "about"], check=True
    )
    return folder / "about"


def test_unknown_facts_are_no_error(tmp_path):
    program = about(tmp_path)
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"")
    done = subprocess.run([program], env={"BOARD_ROOT": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    facts = BoardFacts.from_json(json.loads(done.stdout), "it")
    assert facts == BoardFacts(None, (), None, None, None, None, None, None, ())
    sentences = " ".join(advice(facts))
    for words in ("driver does not answer", "no librknnmrt.so on the board", "no CMA"):
        assert words in sentences


def test_the_drivers_own_answer_comes_first(tmp_path, root):
    """The answers of its ioctl, because files of debugfs are often missing."""
    (tmp_path / "driver.h").write_text(
        "#include <stdarg.h>\n#include <stdint.h>\n#include <sys/ioctl.h>\n"
        "static int asked(int device, unsigned long request, ...)\n{\n"
        "    va_list rest;\n    uint32_t *action;\n    (void)device;\n    va_start(rest, request);\n"
        "    action = va_arg(rest, uint32_t *);\n    va_end(rest);\n"
        "    action[1] = action[0] == 1 ? 908 : action[0] == 2 ? 700000000 : 0;\n"
        "    return request == 0xc0087200 ? 0 : -1;\n}\n#define ioctl asked\n"
    )
    wide = ("-D_POSIX_C_SOURCE=200809L", "-D_FILE_OFFSET_BITS=64")  # before the headers that driver.h includes
    program = about(tmp_path, *wide, "-include", tmp_path / "driver.h")
    done = subprocess.run([program], env={"BOARD_ROOT": str(root)}, capture_output=True, text=True, check=True)
    facts = BoardFacts.from_json(json.loads(done.stdout), "it")
    assert facts == replace(STATED, runtime=None, driver="0.9.8", npu_mhz=700)


@pytest.mark.parametrize(
    ("changed", "own", "said"),
    [
        (
            {},
            None,
            "Replace: /oem/usr/lib/librknnmrt.so is runtime 1.6.0, which reads models of toolkit 1.6.0 and older",
        ),
        ({}, ("board.sdk,", "2.3.2 (x)"), "Choose: toolkit: 2.3.2, the default; board.sdk, is runtime 2.3.2"),
        ({"libraries": (("/lib/librknnmrt.so", "2.2.0 (x)"),)}, None, "Choose: toolkit: 2.2.0; /lib/librknnmrt.so"),
        ({"libraries": (("/a", "2.3.2 (x)"), ("/b", "1.6.0"))}, None, "Replace: the runtimes differ"),
        ({}, None, "Choose: platform: rv1106."),
        ({"chip": "rv1106g3"}, None, "Choose: platform: rv1106."),
        ({"chip": "rv1103b"}, None, "Choose: platform: rv1103b."),
        ({"chip": "rk3588"}, None, "The chip calls itself rk3588, which is none of"),
        ({}, None, "Stop: rkipc (process 231) uses the camera and the NPU and memory of the CMA: RkLunch-stop.sh"),
        (
            {"holders": (("mine", 9, 0, 1),)},
            None,
            "Stop: mine (process 9) uses the NPU and memory of the CMA: kill 9.",
        ),
        (
            {},
            None,
            "Set verdict.cma_mb: 30 and verdict.camera_mb: 0, what is free now (more once the programs above",
        ),
        ({"holders": ()}, None, "Set verdict.cma_mb: 30, what is free now."),
        ({"npu_mhz": 700}, None, "Set verdict.clock_mhz: 700;"),
    ],
)
def test_sentences(changed, own, said):
    assert said in "\n".join(advice(replace(STATED, **changed), own))


def test_a_version_for_each_runtime():
    chosen = {
        "1.6.0": None,
        "2.2.0 (x)": "2.2.0",
        "2.3.0": "2.3.0",
        "2.3.1": "2.3.0",
        "2.3.2": "2.3.2",
        "2.10.0": "2.3.2",
    }
    assert {runtime: version_for(runtime) for runtime in chosen} == chosen
    assert version_for("new") is None


def test_doctor_on_a_sham_board(root, tmp_path, capsys):
    """As a user runs it: compiled for ARM, through ssh, with an SDK whose archive is linked into programs."""
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)}")
    sdk = make_sdk(tmp_path / "sdk")
    assert runtime_version(sdk / "armhf-uclibc" / "librknnmrt.so") == "2.3.2 (a stub)"
    (tmp_path / "board").mkdir()
    (tmp_path / "sshd").mkdir()
    with sshd(tmp_path / "sshd") as ssh_config:
        settings = {
            "host": "sham",
            "options": f"-F {ssh_config}",
            "folder": tmp_path / "board",
            "cc": f"{COMPILER} -static",
            "launcher": f"env BOARD_ROOT={root} qemu-arm",
            "timeout": 60,
        }

        def doctor(**changed) -> tuple[int, str, str]:
            words = [f"--{name}={value}" for name, value in (settings | changed).items()]
            status = run_step(lambda: run_on_board.main(["--doctor", *words]))
            said = capsys.readouterr()
            return status, said.out, said.err

        status, out, _ = doctor()
        assert status == 0 and list((tmp_path / "board").iterdir()) == []
        assert out.splitlines()[0] == (
            "Luckfox Pico Max: chip rv1106, NPU driver 0.9.2, NPU at 420 MHz, CMA 30.0 MB free of 66.0 MB."
        )
        assert "Replace: /oem/usr/lib/librknnmrt.so is runtime 1.6.0" in out
        assert "Stop: rkipc (process 231) uses the camera and the NPU" in out
        status, _, error = doctor(launcher="no-such-program", sdk=sdk)
        assert status == 2 and "the board cannot start the program" in error
        empty = tmp_path / "none.so"
        empty.write_bytes(b"")
        assert "has no version, so it is not a runtime" in doctor(runtime=empty)[2]
