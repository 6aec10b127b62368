"""A classifier that scores each class by the mean of one channel, images for it, and a finished run of both."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("blue", "green", "red")  # in the order of their folders


def tinted(kind: int, seed: int) -> np.ndarray:
    """An image with structure in which one channel is brighter, uint8 RGB [60, 100, 3]."""
    pixels = np.random.default_rng(seed).integers(0, 120, (60, 100, 3))
    pixels[..., 2 - kind] += 100
    return pixels.astype(np.uint8)


def class_folders_in(root: Path) -> Path:
    """Class folders in parts; files have the same names in each. One image of `val/red` is green."""
    for part, count in (("train", 4), ("val", 3)):
        for kind, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                wrong = (part, name, number) == ("val", "red", 0)
                pixels = tinted(1 if wrong else kind, 100 * kind + 10 * number + len(part))
                cv2.imwrite(str(root / part / name / f"{number}.png"), pixels[:, :, ::-1])
    return root


def classifier(**entries) -> onnx.ModelProto:
    """A model that scores each class by the mean of one channel."""
    tensors = {"weights": np.eye(3)[:, :, None, None], "shape": np.array([1, 3]), "matrix": 9 * np.eye(3)[:, ::-1]}
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["means"]),
        helper.make_node("Reshape", ["means", "shape"], ["row"]),
        helper.make_node("MatMul", ["row", "matrix"], ["out"]),
    ]
    constants = [
        numpy_helper.from_array(values.astype(np.int64 if name == "shape" else np.float32), name)
        for name, values in tensors.items()
    ]
    given = [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 64, 64))]
    made = [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 3))]
    graph = helper.make_graph(nodes, "colours", given, made, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.helper.set_model_props(model, entries)
    return model


def finished_run(once) -> Path:
    """A folder with the run `c` of the classifier, its bundle included, and in `said` what the run printed."""

    def make(folder):
        class_folders_in(folder / "colours")
        onnx.save(classifier(task="classify", names=str(dict(enumerate(CLASSES)))), folder / "colours.onnx")
        command = [sys.executable, ROOT / "scripts" / "start.py", "colours.onnx", "colours", "--max-images", "4"]
        done = subprocess.run([*command, "--cores", "2", "--run", "c"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "said").write_text(done.stdout)

    return once("colours", make)
