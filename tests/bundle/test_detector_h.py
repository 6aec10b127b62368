"""detector.h opens, runs and closes a model; two in one program; an error has a number and a message."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from c_library import SANITIZERS
from stub_board import SOURCES, StubModel, build, drawn_case, run_readme_example

from lib.bundle.contract import Proof
from lib.bundle.program import FLAGS
from lib.bundle.readme import readme
from lib.data.imgsz import ImageSize


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two models, and a program that opens both: (models, a function that runs the program on files)."""
    folder = tmp_path_factory.mktemp("two")
    models = {}
    for name, size, kind in (("day", ImageSize(96, 64), 1), ("night", ImageSize(64, 96), 2)):
        case = drawn_case(size, 3, np.array([[kind, 0.8, 20, 20, 60, 60]]))
        models[name] = StubModel(folder / name, folder / "answers", case, name)
        models[name].answer(None, case)
        prefix = models[name].contract.variant
        text = (folder / name / "model.h").read_text().replace(f"{prefix.model}_{prefix.imgsz}_split_normal_8", name)
        (folder / name / "model.h").write_text(text)
    build(folder / "two", "cc", f"-I{folder}", f"-I{folder / 'day'}", SOURCES / "two_models.c",
          folder / "day" / "detector.c", flags=("-Wpedantic", *SANITIZERS))  # fmt: skip

    def run(*files):
        files = files or [models[name].folder / "model.rknn" for name in models]
        done = subprocess.run([folder / "two", *files], capture_output=True, text=True,
                              env={"RKNN_STUB": str(folder / "answers")})  # fmt: skip
        assert "Sanitizer" not in done.stderr, done.stderr
        return done.returncode, [
            line for line in done.stdout.splitlines() if "E RKNN" not in line and "I RKNN" not in line
        ]

    return models, run


def test_two_models_in_one_program(two):
    _, run = two
    status, lines = run()
    assert status == 0
    bad_argument = "a null pointer, a capacity below 1, an invalid threshold or an invalid letterbox"
    assert lines == ["0: 1 0.800", "1: 2 0.800"] * 2 + [bad_argument, f"-3 {bad_argument}"]


@pytest.mark.parametrize(
    ("number", "said", "change"),
    [
        (-5, "the runtime refuses", {"refuse": "failed to decode config data"}),
        (-6, "the runtime is version 2.2.0, but the model was built with toolkit 2.3.2", {"version": "2.2.0"}),
        (-6, "the runtime reports an invalid version: 'new'", {"version": "new"}),
        (-7, "the input is 32 x 64 x 3 on the board, but 64 x 96 x 3 in model.h", {"input": "32 64 64"}),
        (-7, "the input's rows of 90 pixels do not fit", {"input": "64 96 90"}),
        (-7, "the scale of output 0 is", {"scale": 1.01}),
        (-7, "does not have 1 input and 6 outputs", {"outputs": 5}),
    ],
)
def test_an_error_has_a_number_and_a_message(two, number, said, change):
    models, run = two
    try:
        models["day"].tell(**change)
        status, lines = run()
    finally:
        models["day"].tell()
    assert status == 1 and len(lines) == 1
    assert lines[0].startswith(f"{number} ") and said in lines[0]


def test_a_missing_file_and_a_failing_run(two, tmp_path):
    models, run = two
    status, lines = run(tmp_path / "none.rknn", tmp_path / "none.rknn")
    assert status == 1 and lines == [f"-4 {tmp_path}/none.rknn cannot be read: No such file or directory"]
    answer = models["night"].answers / "any"
    kept = answer.read_bytes()
    answer.unlink()
    status, lines = run()
    answer.write_bytes(kept)
    assert status == 0 and lines.count("-8 rknn_run returned error -1") == 2


def test_cplusplus_includes_everything(two, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler (g++)")
    folder = two[0]["day"].folder
    names = ("detector.h", "letterbox.h", "track.h", "draw.h", "model.h")
    (tmp_path / "use.cpp").write_text(
        "".join(f'#include "{name}"\n' for name in names) + "int main() { static rv1106_detector detector;\n"
        '  return rv1106_open(&detector, "none", &RV1106_MODEL) != RV1106_NO_FILE; }\n'
    )
    objects = tmp_path / "detector.o"
    subprocess.run(["cc", *FLAGS, f"-I{SOURCES}", "-c", folder / "detector.c", "-o", objects], check=True)
    subprocess.run(["cc", *FLAGS, f"-I{SOURCES}", "-c", SOURCES / "rknnmrt.c", "-o", tmp_path / "stub.o"], check=True)
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wno-unused-variable"]
    command = ["g++", *flags, f"-I{SOURCES}", f"-I{folder}", tmp_path / "use.cpp", objects, tmp_path / "stub.o"]
    done = subprocess.run([*command, "-o", tmp_path / "use"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "use"]).returncode == 0


def test_code_in_the_readme_compiles_and_runs(two, tmp_path):
    """Unchanged, with strict flags."""
    model = two[0]["day"]
    text = readme(replace(model.contract, proof=Proof(1, 1, 0.0, 0.0, 0.5)))
    assert run_readme_example(text, model, tmp_path)[-1].startswith("class 1 0.80 ")


def test_makefile_and_cmake_build_both_programs(two, tmp_path):
    folder = two[0]["day"].folder
    sdk = tmp_path / "sdk"
    (sdk / "include").mkdir(parents=True)
    (sdk / "armhf-uclibc").mkdir()
    shutil.copy(SOURCES / "rknn_api.h", sdk / "include")
    flags = ["-std=c99", "-fPIC", "-shared", f"-I{SOURCES}"]
    library = sdk / "armhf-uclibc" / "librknnmrt.so"
    subprocess.run(["cc", *flags, SOURCES / "rknnmrt.c", "-o", library], check=True)
    built = tmp_path / "made"
    shutil.copytree(folder, built)
    if shutil.which("make"):
        done = subprocess.run(
            ["make", f"SDK={sdk}", "CC=cc", "detect", "camera"], cwd=built, capture_output=True, text=True
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert (built / "detect").exists() and (built / "camera").exists()
    if not shutil.which("cmake"):
        pytest.skip("needs cmake (apt-get install cmake)")
    subprocess.run(["cmake", "-B", tmp_path / "build", "-S", folder, f"-DSDK={sdk}"], check=True, capture_output=True)
    done = subprocess.run(["cmake", "--build", tmp_path / "build"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build" / "detect").exists() and (tmp_path / "build" / "camera").exists()
    refused = subprocess.run(["cmake", "-B", tmp_path / "none", "-S", folder], capture_output=True, text=True)
    assert refused.returncode and "has no include/rknn_api.h" in " ".join(refused.stderr.split())
