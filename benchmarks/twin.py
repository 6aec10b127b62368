"""Compare the twins and the model of the chip with the simulator: mAP of draws, images equal to the last bit, time.

    python benchmarks/twin.py --dataset DIR --names FILE --draws 5 --calibration 32 --output FILE.csv MODEL.onnx ...

MODEL.onnx is a result of graph surgery; --dataset is a folder with images/ and labels/, as fetch_dataset.py makes it.
Each draw takes --calibration images from the first half of the names, and the second half is evaluated. Times are CPU
seconds of one thread. Each image runs through all of them in turn, so that they see the same machine.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import tempfile

import numpy as np

from lib import tasks
from lib.accuracy.detection_set import DetectionSet
from lib.accuracy.evaluation import evaluate
from lib.data.images import read_image, write_image
from lib.data.letterbox import letterbox
from lib.data.names import read_names
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import load
from lib.graph.output_spec import detector_spec
from lib.graph.surgery.proof import input_size
from lib.npu import toolkit
from lib.npu.build import NPU, TOOLKIT, TWIN, TWIN_FAST
from lib.npu.twin.run import start_of

COLUMNS = ["model", "draw", "runner", "map50_95", "same_images", "images", "ms_an_image"]


def main():
    """Print and write a row per model, draw and runner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--names", required=True, metavar="FILE")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--calibration", type=int, default=32, metavar="N")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.csv")
    args = parser.parse_args()
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for model in args.models:
            for draw in range(args.draws):
                for row in rows(model, draw, args):
                    writer.writerow(row)
                    file.flush()
                    print(*row.values(), flush=True)


def rows(path: Path, draw: int, args) -> list[dict]:
    """The rows of one model and draw."""
    model = load(path)
    names = read_names([args.names])
    spec, form, imgsz = detector_spec(model, names, path), input_form_of(model), input_size(model)
    images = sorted((args.dataset / "images").iterdir())
    half = len(images) // 2
    drawn = np.random.default_rng(draw).choice(half, args.calibration, replace=False)
    with tempfile.TemporaryDirectory() as scratch:
        fitted = [Path(scratch, f"{number}.png") for number in sorted(drawn)]
        for number, target in zip(sorted(drawn), fitted):
            write_image(target, letterbox(read_image(images[number]), imgsz, form)[0])
        structure = toolkit.structure_of(path, fitted, "rv1106", form)
        runners = {name: start_of(name, structure, form)() for name in (TWIN, TWIN_FAST, NPU)}
        with toolkit.quantized(path, fitted, "rv1106", "normal", form) as session:
            results = measured(spec, form, images[half:], {TOOLKIT: session.simulate(), **runners}, args)
    return [{"model": path.stem, "draw": draw} | row for row in results]


def measured(spec, form, images, runners, args) -> list[dict]:
    """The figures of each runner."""
    names = read_names([args.names])
    task = tasks.get(spec.task)
    instances, sizes = {name: [] for name in runners}, []
    seconds, same = {name: [] for name in runners}, dict.fromkeys(runners, 0)
    for image in images:
        fitted, fit = letterbox(read_image(image), spec.imgsz, form)
        sizes.append(fit.source)
        reference = None
        for name, run in runners.items():
            start = time.process_time()
            outputs = run(fitted)
            seconds[name].append(time.process_time() - start)
            instances[name].append(task.instances(spec, outputs, fit))
            reference = reference or outputs
            same[name] += all(np.array_equal(*pair) for pair in zip(reference, outputs, strict=True))
    results = []
    for name in runners:
        detections = DetectionSet([image.name for image in images], sizes, instances[name], spec.task)
        metrics, _ = evaluate(detections, args.dataset, names, 1, 0)
        milliseconds = f"{1000 * np.median(seconds[name]):.1f}"
        values = [name, f"{metrics.map50_95:.5f}", same[name], len(images), milliseconds]
        results.append(dict(zip(COLUMNS[2:], values)))
    return results


if __name__ == "__main__":
    main()
