"""The workflow on a data set in Roboflow's form, by Snakemake and by DVC: parts, names, a changed label."""

import shutil
import subprocess

import pytest
import yaml
from conftest import CUT, ROOT, copy_project

from lib.data.split import read_split

NAMES = (ROOT / "config/parts.names").read_text().split()


def robo(folder, drawn):
    """A data set of three parts from drawn images: 16 for train, 8 for valid, none for the test that its file names."""
    images = sorted((drawn / "images").rglob("*.jpg"))
    for number, image in enumerate(images[:24]):
        part = "valid" if number % 3 == 2 else "train"
        label = drawn / "labels" / image.relative_to(drawn / "images").with_suffix(".txt")
        for kind, path in (("images", image), ("labels", label)):
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / part / kind)
    lines = ["train: ../train/images", "val: ../valid/images", "test: ../test/images", "nc: 4", f"names: {NAMES}"]
    (folder / "data.yaml").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory, python_env):
    """A copy of the project with such a data set, and an overlay that names it."""
    work = copy_project(tmp_path_factory.mktemp("sets") / "project")
    command = ["python", "scripts/draw_scenes.py", "--count", "24", "--seed", "3", "--output", work.parent / "drawn"]
    subprocess.run(list(map(str, command)), cwd=work, env=python_env, check=True, capture_output=True)
    robo(work / "robo", work.parent / "drawn")
    overlay = CUT | {"run": "robo", "dataset": {"yaml": "robo/data.yaml"}, "draw": {"images": 0}}
    (work / "robo.yaml").write_text(yaml.safe_dump(overlay))
    return work


@pytest.fixture(scope="module")
def snakemake(work, python_env, dry_run):
    """A function: Snakemake on that overlay; its exit code and all that it says."""

    def run(*options):
        if options[:1] == ("-n",):
            done = dry_run(work, "-j2", "--configfile", "robo.yaml", *options[1:])
            return done.returncode, done.stdout
        command = ["snakemake", "-j2", "--configfile", "robo.yaml", *options]
        done = subprocess.run(
            command, cwd=work, env=python_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.toolkit
def test_roboflows_set_goes_through_and_a_changed_label_goes_through_again(work, snakemake):
    code, text = snakemake()
    assert code == 0, text
    dataset = work / "results/robo/dataset"
    pool = read_split(dataset / "split.csv", ("calibration",), dataset / "images")
    held = read_split(dataset / "split.csv", ("evaluation",), dataset / "images")
    assert len(pool) == 8 and held == sorted(path.name for path in (work / "robo/valid/images").iterdir())
    assert {path.name for path in (work / "robo/train/images").iterdir()} > set(pool)
    assert (dataset / "names.txt").read_text().split() == NAMES
    assert "The part <code>val</code> of" in (work / "results/robo/report.html").read_text()
    assert "Nothing to be done" in snakemake("-n")[1]
    label = work / "robo/valid/labels" / f"{held[0].removesuffix('.jpg')}.txt"
    text = label.read_text()
    label.write_text(text + "0 0.5 0.5 0.9 0.9\n")
    again = snakemake("-n")[1]
    assert "Fetch the data set" in again and "Collect the table" in again


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            "split={calibration: 17}",
            "split.calibration asks for 17 images, but train of robo/data.yaml has 16; ask for fewer",
        ),
        ("dataset={yaml: robo/nowhere.yaml}", "dataset.yaml: there is no file or folder robo/nowhere.yaml"),
        (f"verdict={{measured: {'n' * 3000}}}", f"a file that the config names: File name too long: {'n' * 100}\n"),
        ("dataset={names: robo/data.yaml}", "the class names come from dataset.yaml; leave the key out"),
    ],
)
def test_what_is_wrong_is_told_by_a_dry_run(snakemake, keys, sentence):
    code, text = snakemake("-n", "--config", keys)
    assert code == 1 and sentence in text and "Traceback" not in text


def test_dvc_reads_the_same_keys(work):
    from dvc.repo import Repo

    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config["dataset"] = {"yaml": "robo/data.yaml", "calibration": {"images": "robo/train/images"}}
    (work / "whole.yaml").write_text(yaml.safe_dump(config))
    text = (work / "dvc.yaml").read_text()
    named = text.replace("&config config/demo.yaml", "&config whole.yaml")
    (work / "dvc.yaml").write_text(named.replace("data_here: config/parts.names", "data_here: robo"))
    stages = {stage.name: stage for stage in Repo(str(work), config={"core": {"no_scm": True}}).index.stages}
    (work / "dvc.yaml").write_text(text)
    fetch = stages["fetch_dataset"]
    assert "--yaml robo/data.yaml " in fetch.cmd and "--calibration.images robo/train/images " in fetch.cmd
    assert "--calibration 32 --seed 0 --part val" in fetch.cmd
    assert "robo" in [str(dependency.def_path) for dependency in fetch.deps]
