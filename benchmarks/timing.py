"""Compare the estimated time with published measurements: python benchmarks/timing.py [--rebuild | --plot FILE]

Prints, for each row of config/measured.csv, the estimate from all rows and that from the rows of other models, as
docs/timing.md shows them. With --rebuild it builds those models again, with random weights, and prints the cycles, MB
and operators that are in the table (this takes five minutes). With --plot it draws docs/timing.png.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")

from lib.convert.conversion import Request, convert
from lib.convert.images import noise_images
from lib.data.imgsz import ImageSize
from lib.detector.head import SPLIT
from lib.graph.export import export, random_weights
from lib.graph.onnx_file import load
from lib.npu import toolkit
from lib.npu.timing import Estimator, Measurement, estimate, estimator, left_out, read_measured, work_of
from lib.step import console
from lib.step.errors import run_step

MEASURED = ROOT / "config" / "measured.csv"
OPSET, SEED = 19, 0
# Ultralytics' description, classes, size: cut at the convolutions, as a board needs it.
MODELS = {"YOLOv8n 640": ("yolov8n", 2, 640), "YOLOv8n 320": ("yolov8n", 2, 320), "YOLO11n 320": ("yolo11n", 1, 320)}


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args()
    if args.rebuild:
        rebuild()
        return
    measured, times = read_measured(MEASURED), estimator(MEASURED)
    if args.plot:
        plot(measured, times, args.plot)
        return
    print(f"{times.factors.ms_per_mb:.2f} ms per MB, {times.factors.ms_per_operator:.3f} ms per operator;", end=" ")
    print(f"limits {times.low:.2f} and {times.high:.2f} of the estimate\n")
    print("| model | board | clock, MHz | measured, ms | convolutions, ms | estimated | from other models | error |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for time, other in zip(measured, left_out(measured)):
        counted = time.work.npu_mcycles * 1e3 / time.clock_mhz
        whole = estimate(times.factors, time.work, time.clock_mhz)
        print(
            f"| {time.model} | {time.board} | {time.clock_mhz} | {time.ms:g} | {counted:.1f} | {whole:.1f} "
            f"| {other:.1f} | {100 * (other / time.ms - 1):+.0f} % |"
        )


def plot(measured: list[Measurement], times: Estimator, path: str) -> None:
    """Draw the measurements and the estimates with their limits, one row per measurement, fastest first."""
    from matplotlib import pyplot as plt

    pairs = sorted(zip(measured, left_out(measured)), key=lambda pair: pair[0].ms)
    figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for row, (time, other) in enumerate(pairs):
        axis.plot(times.limits(time.work, time.clock_mhz), [row, row], color="tab:blue", linewidth=6, alpha=0.3,
                  label=None if row else "ms_low to ms_high")  # fmt: skip
        axis.plot(time.work.npu_mcycles * 1e3 / time.clock_mhz, row, "k|", markersize=12,
                  label=None if row else "convolution cycles / clock")  # fmt: skip
        axis.plot(
            other, row, "o", mfc="none", color="tab:blue", label=None if row else "estimate from the other models"
        )
        axis.plot(time.ms, row, "D" if time.timed == "rknn_run" else "<", color="tab:red")
    axis.plot([], [], "D", color="tab:red", label="measured: rknn_run")
    axis.plot([], [], "<", color="tab:red", label="measured: whole frame, rknn_run is less")
    axis.set_yticks(range(len(pairs)), [f"{time.model}\n{time.board}, {time.clock_mhz} MHz" for time, _ in pairs])
    axis.set(xlabel="ms per image", xlim=(0, None), title="Six published measurements and the estimate")
    axis.tick_params(axis="y", labelsize=7)
    axis.legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def rebuild() -> None:
    """Build the models again and print the work of each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        console.log_to(str(folder / "build.log"))
        for name, (architecture, classes, width) in MODELS.items():
            size = ImageSize(width, width)
            weights = random_weights(f"{architecture}.yaml", classes, SEED, folder / "random.pt")
            exported = load(export(weights, size, OPSET, folder))
            noise = noise_images(size, 1, SEED, folder)
            conversion = convert(Request(exported, SPLIT, noise, proven_on_noise=True, seed=SEED), folder)
            console.say(f"{name}: {work_of(conversion.build)}, {conversion.build.memory_mb:.2f} MB")
        onnx = folder / "yolov5s.onnx"
        export_yolov5s(onnx, 640)
        noise = noise_images(ImageSize(640, 640), 1, SEED, folder)
        with toolkit.quantized(onnx, list(noise), Request.platform, Request.algorithm) as session:
            build = session.export(folder / "yolov5s.rknn")
            console.say(f"YOLOv5s 640: {work_of(build)}, {build.memory_mb:.2f} MB")


def export_yolov5s(path: Path, size: int) -> None:
    """YOLOv5s as in Rockchip's model zoo: ReLU, and at each of three strides one convolution to 255 channels.

    Ultralytics has YOLOv5's backbone and neck with a newer head, which is left out.
    """
    import torch
    from ultralytics.nn.tasks import DetectionModel

    detector = DetectionModel("yolov5s.yaml", nc=80, verbose=False).eval()
    head = detector.model[-1]
    widths = [branch[0].conv.in_channels for branch in head.cv2]
    for module in detector.modules():
        if type(module).__name__ == "Conv":
            module.act = torch.nn.ReLU()
    detector.fuse(verbose=False)

    class Maps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = detector.model[:-1]
            self.heads = torch.nn.ModuleList([torch.nn.Conv2d(width, 255, 1) for width in widths])

        def forward(self, x):
            made = []
            for layer in self.layers:
                if layer.f != -1:
                    x = made[layer.f] if isinstance(layer.f, int) else [x if at == -1 else made[at] for at in layer.f]
                x = layer(x)
                made.append(x)
            return tuple(torch.sigmoid(convolution(made[at])) for convolution, at in zip(self.heads, head.f))

    torch.onnx.export(Maps().eval(), torch.zeros(1, 3, size, size), str(path), opset_version=13, input_names=["images"])


if __name__ == "__main__":
    sys.exit(run_step(main))
