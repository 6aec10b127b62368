"""Fixtures: where local copies of downloads are, a small detector with random weights, images drawn by seed."""

import os

import user_environment

# First of all: libraries read some of it when they are loaded.
USERS = user_environment.forget()

import fcntl
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chromium
import cv2
import numpy as np
import onnx
import onnxslim
import pytest
import yaml
from fork_server import STEPS, ForkServer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

# Python 3.10 has Snakemake 7, which says more and knows fewer options.
SNAKEMAKE_7 = importlib.util.find_spec("snakemake.cli") is None

ASSETS = Path(os.environ.get("RV1106_ASSETS", ROOT.parent / "shared" / "assets"))


# The files that take longest, the longest first: from 300 s to 20 s on one of two cores.
LONGEST = (
    "workflow", "slurm", "real_weights", "demo_tasks", "board", "toolkit", "anchors", "camera", "set_up", "verdict",
    "surgery", "families", "twin", "start", "converter", "data_sets", "foreign_machine", "bundle_families", "place",
    "decoder", "bundle", "as_is", "damage", "graph_tasks",
)  # fmt: skip


def pytest_collection_modifyitems(config, items):
    """Let the processes of pytest-xdist, which take whole files, begin with the longest; short ones end the run."""
    if hasattr(config, "workerinput"):
        place = {f"test_{name}.py": index for index, name in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function: a folder that `make(folder)` fills, once per run of the tests, in the process that needs it first.

    Tests must not write in it: the other processes read it too.
    """
    base = tmp_path_factory.getbasetemp()
    common = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    common.mkdir(exist_ok=True)

    def made(name: str, make) -> Path:
        folder, ready = common / name, common / f"{name}.ready"
        with open(common / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failure left
                folder.mkdir()
                make(folder)
                ready.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with local copies of YOLOv8n and COCO128; tests that need it skip without it."""
    if not (ASSETS / "yolov8n.pt").is_file():
        pytest.skip(f"needs yolov8n.pt and coco128.zip in {ASSETS} (or $RV1106_ASSETS)")
    return ASSETS


@pytest.fixture(scope="session")
def python_env() -> dict:
    """The environment for subprocesses: a user's, with this Python first on the PATH."""
    return USERS | {"PATH": f"{Path(sys.executable).parent}:{USERS['PATH']}"}


@pytest.fixture(scope="session")
def step(python_env):
    """Run a step's command as a user would, but for the time to import its libraries; returns the finished process."""
    server = ForkServer(python_env, STEPS)
    yield lambda name, *arguments: server.run([ROOT / "scripts" / f"{name}.py", *arguments])
    server.close()


@pytest.fixture(scope="session")
def dry_run(python_env):
    """Run `snakemake -n …` in a folder, in the same way; the finished process has both streams in stdout."""
    server = ForkServer(python_env, ["snakemake" if SNAKEMAKE_7 else "snakemake.cli"])
    program = Path(sys.executable).with_name("snakemake")
    yield lambda folder, *arguments: server.run([program, "-n", *arguments], folder, merged=True)
    server.close()


def copy_project(target: Path) -> Path:
    """Copy the project into the folder `target`, without results, tests and what `dvc repro` left; returns it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/") and name != "dvc.lock":
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the project's files to run Snakemake in."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium; tests that need it skip where none is installed."""
    program = chromium.find()
    if not program:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    browser = chromium.Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def image(seed: int, width: int = 90, height: int = 70) -> np.ndarray:
    """A image with structure, uint8 RGB [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def dataset(tmp_path) -> Path:
    """A data set folder of ten images in Ultralytics' layout, one of them background only."""
    root = tmp_path / "source"
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    for number in range(10):
        cv2.imwrite(str(root / "images" / "train" / f"{number:02}.jpg"), image(number)[:, :, ::-1])
        if number:
            (root / "labels" / "train" / f"{number:02}.txt").write_text(f"{number % 4} 0.5 0.5 0.4 0.3\n")
    return root


@pytest.fixture(scope="session")
def export(once, tmp_path_factory):
    """A function: one of Ultralytics' architectures with random weights, exported; (path, onnx model), cached."""
    for library in ("torch", "ultralytics"):
        if importlib.util.find_spec(library) is None:
            pytest.skip("needs Ultralytics and torch, which a light environment lacks")
    os.environ.update(
        YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", YOLO_CONFIG_DIR=str(tmp_path_factory.mktemp("ultralytics"))
    )

    @functools.cache
    def made(architecture="yolov8n", classes=4, opset=19, width=96, height=64, reg_max=None, **options):
        def make(folder):
            export_random(folder, architecture, classes, opset, (height, width), reg_max, **options)

        words = ["export", architecture, classes, opset, width, height, reg_max, *sorted(options.items())]
        path = once(re.sub(r"[^\w.]+", "-", "_".join(map(str, words))), make) / "random.onnx"
        return path, onnx.load(path)

    return made


def export_random(folder, architecture, classes, opset, imgsz, reg_max, **options) -> None:
    """Write `random.pt`, a detector or another model with random weights, and `random.onnx`, made of it."""
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import LOGGER

    # Its handler writes to the stream of the test that imported it first, which is closed by now.
    LOGGER.setLevel("ERROR")
    torch.manual_seed(0)
    model = (
        YOLO(f"{architecture}.yaml").model if "-" in architecture else fresh_detector(architecture, classes, reg_max)
    )
    torch.save({"model": model.half(), "train_args": {}}, folder / "random.pt")
    YOLO(folder / "random.pt").export(
        format="onnx", imgsz=imgsz, opset=opset, simplify=False, device="cpu", verbose=False, **options
    )


def slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """What onnxslim makes of a model; done once for tests that ask for the same one after another."""
    return onnx.load_from_string(_slim(model.SerializeToString()))


@functools.lru_cache(maxsize=4)
def _slim(serialized: bytes) -> bytes:
    return onnxslim.slim(onnx.load_from_string(serialized)).SerializeToString()


def fresh_detector(architecture: str, classes: int, reg_max: int | None = None):
    """A detector with random weights whose outputs are as varied as a trained one's."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    description = yaml_model_load(f"{architecture}.yaml")
    model = DetectionModel(description | ({"reg_max": reg_max} if reg_max else {}), nc=classes, verbose=False)
    detect = model.model[-1]
    branches = (getattr(detect, name, None) for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3"))
    last = [head[-1] for branch in branches if branch is not None for head in branch]
    # Fresh weights give every anchor point the same tiny scores. These differ by about 1 from cell to cell.
    seen = {}
    hooks = [each.register_forward_pre_hook(lambda layer, given: seen.update({layer: given[0]})) for each in last]
    with torch.no_grad():
        model.eval()(torch.rand(1, 3, 128, 128))
        for layer, hook in zip(last, hooks):
            hook.remove()
            varies = seen[layer].std(dim=(0, 2, 3)).square().sum().sqrt().clamp(min=1e-3)
            torch.nn.init.normal_(layer.weight, std=float(1 / varies))
            torch.nn.init.normal_(layer.bias, std=1.0)
            layer.bias -= layer.weight[:, :, 0, 0] @ seen[layer].mean(dim=(0, 2, 3))
    model.train()
    return model


@pytest.fixture(scope="session")
def exported(export):
    """A YOLOv8n of 4 classes with random weights as exported at 96x64 and opset 19: (path, onnx model)."""
    return export()


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Eight letterboxed images as PNG; the folder's name holds a blank, which the toolkit's lists do not allow."""
    from lib.data.imgsz import ImageSize
    from lib.data.letterbox import letterbox

    folder = tmp_path_factory.mktemp("letterboxed pool")
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed}.png"), letterbox(image(seed), ImageSize(96, 64))[0][:, :, ::-1])
    return folder


@pytest.fixture(scope="session")
def listed(pool) -> Path:
    """The calibration set of all of them: a text file beside the pool."""
    path = pool.parent / "images.txt"
    path.write_text("".join(f"{pool.name}/{each.name}\n" for each in sorted(pool.iterdir())))
    return path


@pytest.fixture(scope="session")
def heldout(tmp_path_factory) -> Path:
    """A data set folder of three held-out images; only the second, b.png, and the third have a label."""
    folder = tmp_path_factory.mktemp("heldout")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    lines = ["image,part"]
    for name, label in (("a", ""), ("b", "1 0.5 0.5 0.4 0.3\n"), ("c", "0 0.4 0.5 0.3 0.3\n2 0.6 0.6 0.4 0.5\n")):
        cv2.imwrite(str(folder / f"images/{name}.png"), image(ord(name))[:, :, ::-1])
        (folder / f"labels/{name}.txt").write_text(label)
        lines.append(f"{name}.png,evaluation")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def split_onnx(export, once) -> Path:
    """The small detector with the head 'split'."""
    from lib.graph.onnx_file import save
    from lib.graph.surgery.pipeline import adapt

    def make(folder):
        save(adapt(export()[1], "split", [image(0, 96, 64)], seed=0)[0], folder / "split.onnx")

    return once("split", make) / "split.onnx"


@pytest.fixture(scope="session")
def quantize(step, listed, heldout):
    """A function: quantize.py on an ONNX into a folder; the finished process."""

    def run(onnx, folder, *options, names=tuple("abcd")):
        return step("quantize", "--onnx", onnx, "--calibration", listed, "--platform", "rv1106", "--algorithm",
                    "normal", "--dataset", heldout, "--names", *names, "--output", folder / "model.rknn",
                    "--build", folder / "build.json", "--detections", folder / "detections.npz",
                    "--log", folder / "build.log", *options)  # fmt: skip

    return run


@pytest.fixture(scope="session")
def quantized(split_onnx, quantize, once) -> Path:
    """The folder with model.rknn, build.json, build.log and detections.npz of the small detector, head 'split'."""

    def make(folder):
        done = quantize(split_onnx, folder)
        assert done.returncode == 0, done.stderr

    return once("quantized", make)


# A cut of the bundled example, as an overlay over config/config.yaml.
CUT = {
    "run": "cut",
    "models": {"parts4": yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())["models"]["parts4"]},
    "draw": {"images": 24, "seed": 3},
    "dataset": {"name": "parts", "archive": ["drawn"], "names": "config/parts.names"},
    "split": {"calibration": 8},
    "sweep": {"model": ["parts4"], "imgsz": [96], "max_images": [4], "head": ["split"]},
    "layers": {"model": []},
}


@pytest.fixture(scope="session")
def elsewhere(once):
    """A copy of the workflow in a folder with a blank in its name."""
    return once("else where", lambda folder: copy_project(folder / "workflow")) / "workflow"


@pytest.fixture(scope="session")
def cut_run(elsewhere, once, tmp_path_factory, python_env) -> Path:
    """The folder of a real run of the cut, by `snakemake -s`, in a working folder that held nothing but the overlay."""

    def make(work):
        (work / "cut.yaml").write_text(yaml.safe_dump(CUT))
        command = ["snakemake", "-j2", "-s", str(elsewhere / "Snakefile"), "--configfile", "cut.yaml"]
        done = subprocess.run(command, cwd=work, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (work / "terminal.txt").write_text(done.stderr + done.stdout)

    # A copy, because a dry run in it takes a lock, and a test damages a file.
    work = tmp_path_factory.mktemp("cut") / "work"
    return shutil.copytree(once("cut", make), work, symlinks=True) / "results" / "cut"


@pytest.fixture(scope="session")
def bundled_project(once, python_env) -> Path:
    """A copy of the project that has run `snakemake bundle`: all variants of a cut of the example, at 128x96."""

    def make(folder):
        project = copy_project(folder / "project")
        path = project / "config" / "demo.yaml"
        config = yaml.safe_load(path.read_text())
        config["draw"]["images"] = 24
        config["split"]["calibration"] = 8
        config["evaluation"]["resamples"] = 100
        config["sweep"].update(imgsz=["128x96"], max_images=[8])
        config["layers"]["model"] = []
        config["bundle"] = "all"
        path.write_text(yaml.safe_dump(config))
        command = ["snakemake", "bundle", "-j2", "--configfile", "config/demo.yaml"]
        done = subprocess.run(command, cwd=project, env=python_env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return once("bundled", make) / "project"
