"""A script as an engineer without this project might write for the same table: one process, one variant at a time.

python benchmarks/plain_sweep.py WEIGHTS.pt DATASET OUTPUT --sizes 256 320 --max-images 16 64

DATASET holds images/ and labels/ side by side. The first images are for calibration, the last --evaluate images for
evaluation. Exports with Ultralytics, cuts the graph, calibrates, builds, simulates, and prints one row per variant:
no cache, no proof, no FP32, no report. It uses this project's letterbox, decoding, NMS and mAP, so that the benchmark
compares ways of working and not implementations of NMS.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import numpy as np
import onnx
import onnxslim
from onnx import TensorProto, helper, numpy_helper
from rknn.api import RKNN
from ultralytics import YOLO

from lib import tasks
from lib.accuracy.average_precision import AveragePrecision, average_precision
from lib.accuracy.detection_set import DetectionSet
from lib.data.image_paths import image_paths
from lib.data.images import read_image, write_image
from lib.data.imgsz import ImageSize, parse_imgsz
from lib.data.letterbox import letterbox
from lib.detector.families.dfl import Dfl
from lib.detector.families.sides import STRIDES
from lib.detector.head import SPLIT
from lib.detector.output_spec import OutputSpec


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sizes", nargs="+", type=parse_imgsz, required=True)
    parser.add_argument("--max-images", nargs="+", type=int, required=True, help="numbers of calibration images")
    parser.add_argument("--heads", nargs="+", default=["single", SPLIT])
    parser.add_argument("--evaluate", type=int, default=64, metavar="N")
    args = parser.parse_args()
    weights, dataset = args.weights.resolve(), args.dataset.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    os.chdir(args.output)
    shutil.copy(weights, "model.pt")
    images = image_paths(dataset / "images")
    for size in args.sizes:
        exported = YOLO("model.pt").export(format="onnx", imgsz=(size.height, size.width), opset=19, device="cpu")
        for number, path in enumerate(images[: max(args.max_images)]):
            write_image(f"{size}-{number}.png", letterbox(read_image(path), size)[0])
        for head in args.heads:
            onnx.save(onnxslim.slim(cut(onnx.load(exported), head, size)), "cut.onnx")
            for count in args.max_images:
                listed = [f"{size}-{number}.png\n" for number in range(count)]
                precision = variant("cut.onnx", listed, head, size, images[-args.evaluate :], dataset)
                print(f"{size} {head} {count} mAP50-95 {precision.map50_95:.4f}", flush=True)


def variant(
    model: str, listed: list[str], head: str, size: ImageSize, images: list[Path], dataset: Path
) -> AveragePrecision:
    """Calibrate, build and export one variant, and evaluate it on the simulator."""
    Path("calibration.txt").write_text("".join(listed), encoding="utf-8")
    rknn = RKNN(verbose=False)
    rknn.config(mean_values=[[0, 0, 0]], std_values=[[255, 255, 255]], target_platform="rv1106")
    steps = (
        rknn.load_onnx(model),
        rknn.build(do_quantization=True, dataset="calibration.txt"),
        rknn.export_rknn("model.rknn"),
        rknn.init_runtime(),
    )
    assert steps == (0, 0, 0, 0), steps
    truth, detections, sizes = [], [], []
    for path in images:
        fitted, fit = letterbox(read_image(path), size)
        outputs = rknn.inference(inputs=[fitted[None]], data_format=["nhwc"])
        detections.append(tasks.get(tasks.DEFAULT).instances(OutputSpec(size, head, Dfl(), 80), outputs, fit))
        sizes.append(fit.source)
        truth.append(tasks.get(tasks.DEFAULT).ground_truth(dataset, path.name, fit.source, 80))
    rknn.release()
    names = [path.name for path in images]
    return average_precision(truth, DetectionSet(names, sizes, detections), [str(number) for number in range(80)])


def cut(model: onnx.ModelProto, head: str, size: ImageSize) -> onnx.ModelProto:
    """The head 'split' by the names of Ultralytics' convolutions, or 'single' by a division and a Reshape."""
    graph = model.graph
    if head == SPLIT:
        outputs = []
        for number in range(len(STRIDES)):
            endings = (f"/{branch}.{number}/{branch}.{number}.2/Conv" for branch in ("cv2", "cv3"))
            box, scores = (next(n.output[0] for n in graph.node if n.name.endswith(ending)) for ending in endings)
            graph.node.append(helper.make_node("Sigmoid", [scores], [f"scores{number}"]))
            outputs += [box, f"scores{number}"]
    else:
        joined = next(node for node in graph.node if graph.output[0].name in node.output)
        boxes = joined.input[0]
        sides = np.array([size.width, size.height] * 2, np.float32).reshape(1, 4, 1)
        graph.initializer.append(numpy_helper.from_array(sides, "sides"))
        graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 0, 1]), "four_d"))
        graph.node.insert(list(graph.node).index(joined), helper.make_node("Div", [boxes, "sides"], ["normalized"]))
        joined.input[0] = "normalized"
        graph.node.append(helper.make_node("Reshape", [joined.output[0], "four_d"], ["predictions"]))
        outputs = ["predictions"]
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
    return model


if __name__ == "__main__":
    main()
