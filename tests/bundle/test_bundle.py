"""A deploy bundle is complete and proven, works the same on the host and on armhf, and damage is detected."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from random_models import random_case

import make_bundle
from lib.bundle import BOARD_PROGRAM, CAMERA_PROGRAM, program
from lib.bundle.check import checksums, is_bundle, problems, write_checksums
from lib.bundle.contract import Contract, Proof
from lib.bundle.model_h import model_h
from lib.bundle.pack import pack
from lib.bundle.readme import readme
from lib.npu.rknn_file import read_rknn
from lib.results import closing
from lib.results.sweep import Variant
from lib.step.errors import UserError
from lib.step.step_sources import step_sources

HEADS = ("single", "split")


@pytest.fixture(scope="module")
def run_folder(request, tmp_path_factory):
    """A run of `snakemake bundle` on a part of the bundled example, all variants: (project, results folder)."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler (cc)")
    made = request.getfixturevalue("bundled_project")
    project = shutil.copytree(made, tmp_path_factory.mktemp("bundle") / "project", symlinks=True)
    return project, project / "results" / "demo"


def path_of(results: Path, head: str) -> Path:
    return results / "bundle" / "parts4" / "128x96" / head / "normal-8"


@pytest.fixture(params=HEADS)
def bundle(request, run_folder, tmp_path) -> Path:
    """A bundle, unzipped in another folder."""
    with zipfile.ZipFile(path_of(run_folder[1], request.param).with_suffix(".zip")) as archive:
        archive.extractall(tmp_path / "elsewhere")
    return tmp_path / "elsewhere" / "normal-8"


@pytest.mark.toolkit
@pytest.mark.parametrize("head", HEADS)
def test_bundle_holds_the_contract_of_the_model(run_folder, head):
    folder = path_of(run_folder[1], head)
    contract = Contract.of_bundle(folder)
    outputs = [f"golden/output_{i}.bin" for i in range(1 if head == "single" else 6)]
    others = {*BOARD_PROGRAM, *CAMERA_PROGRAM, "README.md", "decode.h", "dfl.h", "golden/detections.txt",
              "golden/input.rgb", "golden/image.txt", "main.c", "model.h", "model.rknn"}  # fmt: skip
    assert set(contract.files) == others | set(outputs)
    assert set(checksums(folder)) == set(contract.files) | {"model.json"}
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)

    model = read_rknn(folder / "model.rknn")
    assert contract.input.imgsz == (128, 96)
    assert (folder / "golden" / "input.rgb").stat().st_size == 128 * 96 * 3
    assert contract.tensors() == list(model.outputs)
    for output, golden in zip(contract.outputs, outputs, strict=True):
        assert output.bytes == (folder / golden).stat().st_size == np.prod(output.native_shape)
        assert output.padding_channels == output.native_shape[1] * 16 - output.shape[1]
    assert [output.strides for output in contract.outputs] == (
        [(8, 16, 32)] if head == "single" else [(8,), (8,), (16,), (16,), (32,), (32,)]
    )
    assert list(contract.classes) == (ROOT / "config" / "parts.names").read_text().split()
    metrics = run_folder[1] / "metrics" / "parts4" / "128x96"
    int8 = json.loads((metrics / head / "normal-8.json").read_text())
    assert contract.accuracy.map50_95_int8 == contract.proof.map50_95 == round(int8["map50_95"], 4)
    # A detector that finds things, on all evaluation images.
    assert contract.proof.images == 16 and contract.proof.detections > 50
    assert contract.proof.box_px <= 1e-3 and contract.proof.score <= 1e-4
    assert len((folder / "golden" / "detections.txt").read_text().splitlines()) > 3
    readme = (folder / "README.md").read_text()
    assert "$" not in readme.replace("$CC", "") and f"{model.outputs[0].scale:.9g}" in readme


@pytest.mark.toolkit
def test_unzipped_anywhere_one_command_prints_the_expected_detections(bundle, step):
    subprocess.run(["cc", "main.c"], cwd=bundle, check=True)
    printed = subprocess.run(["./a.out"], cwd=bundle, check=True, capture_output=True, text=True).stdout
    assert printed == (bundle / "golden" / "detections.txt").read_text()
    # What was compiled there is neither a fault nor a reason not to make the bundle again.
    done = step("check_bundle", bundle)
    assert done.returncode == 0 and "is sound" in done.stdout, done.stderr
    assert is_bundle(bundle)


@pytest.mark.toolkit
@pytest.mark.parametrize("flags", ["", "-O3 -mcpu=cortex-a7 -mfpu=neon-vfpv4 -mfloat-abi=hard"])
def test_bundle_is_sound_on_armhf(bundle, flags):
    """The second flags let the compiler fuse multiplications and additions: the last decimal may differ, no more."""
    for needed in ("arm-linux-gnueabihf-gcc", "qemu-arm"):
        if not shutil.which(needed):
            pytest.skip(f"needs {needed} (apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user)")
    command = ["arm-linux-gnueabihf-gcc", "-static", *flags.split()]
    assert problems(bundle, command, ("qemu-arm",)) == []
    subprocess.run([*command, "main.c"], cwd=bundle, check=True)
    printed = subprocess.run(["qemu-arm", "./a.out"], cwd=bundle, check=True, capture_output=True, text=True).stdout
    expected = (bundle / "golden" / "detections.txt").read_text()
    assert printed == expected or flags
    assert len(printed.splitlines()) == len(expected.splitlines())


def edit(folder: Path, change) -> None:
    path = folder / "model.json"
    contract = json.loads(path.read_text())
    change(contract)
    path.write_text(json.dumps(contract))


@pytest.mark.toolkit
def test_wrong_scale_is_caught_by_checksum_model_and_detections(bundle, step):
    edit(bundle, lambda contract: contract["outputs"][0].update(scale=contract["outputs"][0]["scale"] * 1.02))
    done = step("check_bundle", bundle)
    head, *listed = done.stderr.strip().splitlines()
    assert done.returncode == 2 and head.endswith("is not sound, so make or copy it again:")
    for reason in (
        "model.json is changed (SHA256SUMS)", "in model.rknn", "model.h is not what model.json gives",
        "golden outputs decoded by model.json: ",
    ):  # fmt: skip
        assert [line for line in listed if reason in line]

    # Whoever mends every text and checksum after it is still told by the model and by what is found.
    (bundle / "model.h").write_text(model_h(Contract.of_bundle(bundle)))
    edit(bundle, lambda contract: contract["files"].update({"model.h": checksums(bundle)["model.h"]}))
    write_checksums(bundle)
    said = "; ".join(problems(bundle, program.compiler()))
    assert "is changed" not in said and "model.h is not" not in said
    for reason in ("in model.rknn", "golden outputs decoded by model.json: ", "golden outputs decoded by main.c: "):
        assert reason in said


@pytest.mark.toolkit
@pytest.mark.parametrize("bundle", ["split"], indirect=True)
@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("golden/output_0.bin", lambda data: data[:-1], "does not have the size of its output"),
        ("golden/output_0.bin", lambda data: data + b"\0", "does not have the size of its output"),
        ("golden/detections.txt", lambda data: data.replace(b"0.", b"0.1", 1), "golden outputs decoded by main.c"),
        ("model.rknn", lambda data: data[:1000], "is not a .rknn"),
        ("main.c", lambda data: data.replace(b"int main", b"int mine"), "main.c does not compile"),
        ("model.json", lambda data: data.replace(b'"outputs"', b'"inputs"'), "model.json lacks outputs; "),
        (
            "model.json",
            lambda data: data.replace(b'"zero_point": ', b'"zero_point": 1.', 1),
            "outputs[0].zero_point is 1.",
        ),
    ],
)
def test_damage_is_reported(bundle, name, damage, said):
    path = bundle / name
    assert problems(bundle, program.compiler()) == []
    path.write_bytes(damage(path.read_bytes()))
    found = problems(bundle, program.compiler())
    assert f"{name} is changed (SHA256SUMS)" in found
    assert any(said in each for each in found)


@pytest.mark.toolkit
@pytest.mark.parametrize("bundle", ["single"], indirect=True)
def test_missing_and_added_files_are_reported(bundle):
    (bundle / "golden" / "input.rgb").unlink()
    (bundle / "notes.txt").touch()
    found = problems(bundle, program.compiler())
    assert "golden/input.rgb is missing (SHA256SUMS)" in found and "notes.txt is not listed (model.json)" in found
    (bundle / "model.json").write_text("{")
    with pytest.raises(UserError, match=r"model.json is not valid JSON"):
        problems(bundle, program.compiler())


@pytest.mark.toolkit
@pytest.mark.parametrize("bundle", ["split"], indirect=True)
def test_an_invalid_threshold_is_refused(bundle, tmp_path):
    program.build(bundle, program.compiler(), tmp_path / "decode")
    for text in ("abc", "0.2x", "-1", "nan", ""):
        for arguments in ([text], ["0.25", text]):
            command = [tmp_path / "decode", bundle / "golden", *arguments]
            done = subprocess.run(command, capture_output=True, text=True)
            assert (done.returncode, done.stdout, done.stderr) == (2, "", "CONFIDENCE and IOU must be numbers >= 0\n")


@pytest.mark.toolkit
@pytest.mark.parametrize("bundle", ["split"], indirect=True)
def test_an_invalid_compiler_is_named(bundle):
    [sentence] = problems(bundle, ["true"])
    assert sentence.endswith("'true' made no program from main.c, so it is not a C compiler")
    [sentence] = problems(bundle, ["false"])
    assert sentence.endswith(": it ends with 1 and prints nothing")


@pytest.mark.toolkit
@pytest.mark.parametrize("bundle", ["split"], indirect=True)
def test_a_link_to_a_folder_is_reported(bundle):
    (bundle / "golden" / "more").symlink_to("/etc")
    assert problems(bundle, program.compiler()) == ["golden/more is a link, but a bundle has only files"]


def again(project: Path, python_env, head="split", **environment) -> subprocess.CompletedProcess:
    """make_bundle.py in the project's copy, for one head."""
    command = [sys.executable, "scripts/make_bundle.py", "--run", "results/demo", "--model", "parts4",
               "--imgsz", "128x96", "--head", head, "--algorithm", "normal", "--max-images", "8",
               "--names", "config/parts.names", "--processes", "2",
               "--log", "results/again.log"]  # fmt: skip
    return subprocess.run(command, cwd=project, env=python_env | environment, capture_output=True, text=True)


@pytest.mark.toolkit
def test_wrong_decoder_makes_no_bundle(run_folder, python_env):
    project, results = run_folder
    before = checksums(results / "bundle")
    header = project / "scripts" / "lib" / "bundle" / "decode.h"
    text = header.read_text()
    try:
        # Equal scores in another order: nothing that one would see.
        header.write_text(
            text.replace("a.score == b.score && a.rank > b.rank", "a.score == b.score && a.rank < b.rank")
        )
        assert header.read_text() != text
        done = again(project, python_env)
    finally:
        header.write_text(text)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "decode.h and Python disagree on" in done.stderr
    assert checksums(results / "bundle") == before
    assert not list(results.rglob("*.part"))


@pytest.mark.toolkit
def test_a_missing_compiler_is_reported(run_folder, python_env):
    project, results = run_folder
    before = checksums(results / "bundle")
    done = again(project, python_env, CC="no-such-compiler")
    assert done.returncode == 2
    assert "there is no C compiler 'no-such-compiler'" in done.stderr and "apt-get install gcc" in done.stderr
    assert checksums(results / "bundle") == before


@pytest.mark.toolkit
def test_a_bundle_made_twice_has_the_same_bytes(run_folder, python_env, tmp_path):
    project, results = run_folder
    kept = shutil.copytree(results / "bundle", tmp_path / "bundle")
    done = again(project, python_env, "split")
    assert done.returncode == 0, done.stderr
    assert (path_of(results, "split").with_suffix(".zip")).read_bytes() == (
        kept / "parts4" / "128x96" / "split" / "normal-8.zip"
    ).read_bytes()
    # One variant was asked for, and the best of one is made.
    assert not path_of(results, "single").exists()
    shutil.rmtree(results / "bundle")
    shutil.copytree(kept, results / "bundle")


# Makes a bundle in the folder `made`, proven on black images alone, in which the example's model detects nothing.
PROVEN_ON_BLACK = """
import sys
from pathlib import Path
import numpy as np
from lib.bundle.make import make, read_evaluation
from lib.bundle.program import compiler
from lib.data.images import write_image
from lib.detector.instances import nothing
from lib.results.sweep import Variant

run, images = Path(sys.argv[1]), [Path(f"black{i}.png") for i in range(2)]
for image in images:
    write_image(image, np.zeros((90, 160, 3), np.uint8))
names = Path("parts.names").read_text().split()
evaluation = read_evaluation(run, "heldout", names)._replace(images=images, truth=lambda *given: nothing())
make(run, Variant("parts4", "128x96", "split", "normal", 8), evaluation, 1, compiler(), Path("made"))
"""


@pytest.mark.toolkit
def test_a_bundle_says_that_its_proof_compared_no_detection(run_folder, python_env, step, tmp_path):
    project, results = run_folder
    run = shutil.copytree(results, tmp_path / "run")
    shutil.copy(project / "config" / "parts.names", tmp_path)
    path = run / "metrics" / "parts4" / "128x96" / "split" / "normal-8.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"map50_95": 0.0}))
    paths = {"PYTHONPATH": str(project / "scripts")}
    done = subprocess.run([sys.executable, "-c", PROVEN_ON_BLACK, run], cwd=tmp_path, env=python_env | paths,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "in 2 evaluation images, parts4 128x96 split" in done.stdout
    assert "(there is none above 0.001 either), so the golden files of its bundle compare no detection" in done.stdout
    assert Contract.of_bundle(tmp_path / "made").proof.detections == 0
    text = (tmp_path / "made" / "README.md").read_text()
    assert "**This is not proven.** On 2 images," in text and "**`golden/detections.txt` is empty.**" in text
    checked = step("check_bundle", tmp_path / "made")
    assert "is sound" in checked.stdout and "(none: golden/detections.txt is empty)" in checked.stdout
    shutil.rmtree(run / "bundle")
    shutil.copytree(tmp_path / "made", path_of(run, "split"))
    config = yaml.safe_load((project / "config" / "demo.yaml").read_text())
    lines = closing.closing(run, config, {"bundle"}, [])
    assert any(line.endswith("(not proven: no image has a detection, see its README.md)") for line in lines)


def test_without_a_variant_that_runs_the_first_verdict_says_why(monkeypatch, tmp_path):
    rows = [
        {**{"model": "a", "imgsz": "320", "head": "split", "algorithm": "normal", "max_images": 16}, "verdict": "fails"}
    ]
    monkeypatch.setattr(closing, "from_csv", lambda path, wanted: pd.DataFrame(rows))
    monkeypatch.setattr(closing, "best_first", lambda table: table)
    monkeypatch.setattr(closing, "recommended", lambda table: None)
    folder = tmp_path / "rknn" / "a" / "320" / "split" / "normal-16"
    folder.mkdir(parents=True)
    verdict = {"result": "fails", "reason": "it is too large", "advice": "take a smaller one"}
    (folder / "verdict.json").write_text(json.dumps({"verdict": verdict}))
    config = {"platform": "rv1106", "sweep": {"model": ["a"], "imgsz": [320], "max_images": [16], "head": ["split"],
                                              "algorithm": ["normal"]}}  # fmt: skip
    lines = closing.closing(tmp_path, config, {"make_report"}, [])
    assert lines[1].endswith("a 320 split, normal on 16 images: fails, because it is too large; take a smaller one"), (
        lines
    )


def test_the_next_command_keeps_the_board_that_was_named():
    named = "board={host: root@10.0.0.2, sdk: /sdk}"
    assert closing.next_command("board", ["bundle", "--config", named]) == f"snakemake -j4 board --config '{named}'"
    assert closing.next_command("board", ["bundle"]) == f"snakemake -j4 board --config '{closing.BOARD}'"


def test_a_proof_without_detections_says_so():
    nothing = Proof(16, 0, 0.0, 0.0, 0.0)
    assert nothing.in_words().startswith("not proven, because no detection could be compared: in 16 images,")
    assert Proof(16, 3, 0.0, 0.0, 0.5).in_words().startswith("C decodes 16 images as Python does, 3 detections")
    contract = random_case(0).contract("m")
    assert "not proven" in readme(replace(contract, proof=nothing), shown=0)
    # Detections, but none above the suggested threshold.
    text = readme(replace(contract, proof=Proof(16, 3, 0.0, 0.0, 0.5)), shown=0)
    assert "not proven" not in text and "**`golden/detections.txt` is empty.**" in text
    assert "is empty" not in readme(replace(contract, proof=Proof(16, 3, 0.0, 0.0, 0.5)))


def test_best_variant_is_the_one_that_the_report_recommends(monkeypatch, tmp_path):
    chosen = [Variant(name, "320", "split", "normal", 16) for name in "abcd"]
    rows = {"a": (0.5, "fails"), "b": (0.4, "runs"), "c": (0.41, "unsure"), "d": (0.3, "runs")}

    def table(run, variants):
        return pd.DataFrame(
            [
                {**each._asdict(), "map50_95_int8": rows[each.model][0], "verdict": rows[each.model][1],
                 "npu_mcycles": 1.0, "rknn_mb": 1.0}
                for each in variants
            ]
        )  # fmt: skip

    monkeypatch.setattr(make_bundle, "read_table", table)
    assert make_bundle.best(tmp_path, chosen).model == "b"
    assert make_bundle.best(tmp_path, [chosen[3], chosen[0]]).model == "d"
    assert make_bundle.best(tmp_path, [chosen[0], chosen[2]]).model == "a"


def test_c_code_and_template_count_as_the_steps_files():
    sources = step_sources("make_bundle", ROOT)
    for name in ("decode.h", "main.c", "README.template.md", "make.py"):
        assert f"scripts/lib/bundle/{name}" in sources
    assert not any("lib/bundle/" in name for name in step_sources("evaluate", ROOT))


def test_zip_depends_on_nothing_but_the_files(tmp_path):
    for name in ("b.txt", "a/c.txt"):
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text(name)
    first = pack(tmp_path / "here").read_bytes()
    os.utime(tmp_path / "here" / "b.txt", (1, 1_000_000_000))
    assert pack(tmp_path / "here").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "here.zip") as archive:
        assert archive.namelist() == ["here/a/c.txt", "here/b.txt"]


@pytest.mark.parametrize("text", ["1 0.5 1 2 3\n", "person 0.5 1 2 3 4\n", "1 0.5 1 2 3 4 x\n\nnoise\n"])
def test_invalid_lines_are_reported(text):
    with pytest.raises(UserError, match="not a list of detections"):
        program.read_detections(text)
