"""The one place that talks to rknn-toolkit2.

The simulator works only on a model that was built in the same process, so whoever simulates builds first: `quantized`
calibrates, builds, and gives the toolkit's object to export from, to simulate with and to analyse.
"""

import contextlib
import importlib.metadata
import os
import tempfile
from pathlib import Path

import numpy as np

from lib.npu.deferred_torch import deferred_torch
from lib.step.errors import ToolkitError
from lib.step.files import whole

PLATFORMS = ("rv1103", "rv1103b", "rv1106", "rv1106b")
ALGORITHMS = ("normal", "mmse", "kl_divergence")

# Variables that 2.3.2 asks for, seen by watching it. Some leave its log empty (RKNN_LOG_LEVEL, GEN_MODEL), some change
# what is built (DEBUG_COVER_TARGET, RKNN_WEIGHT_MEM_TYPE), some write files (DUMP_Q).
SWITCHES = ("DUMP_Q", "FULL_MODEL_TEST", "GEN_MODEL", "TEST_MODE", "TRANSFER_LOG_LEVEL", "USE_RK_CAFFE")
SWITCHES_BEGIN = ("DEBUG_", "RKNN_")


def version() -> str:
    """The toolkit's version."""
    return importlib.metadata.version("rknn-toolkit2")


@contextlib.contextmanager
def quantized(model: Path, images: list[Path], platform: str, algorithm: str, verbose: bool = False):
    """A toolkit object with the INT8 model, built from an ONNX and calibrated on `images`; released at the end.

    images: files of the model's input size, letterboxed already. With `verbose` the build prints its table of
    operators. Raises ToolkitError when the toolkit refuses the model or an image, or when the build fails.
    """
    with _toolkit(platform, algorithm, verbose) as rknn:
        # It writes check files into the working folder, splits the list of images at white space, and reads it in the
        # encoding of the locale; so the list holds plain names in that folder.
        with tempfile.TemporaryDirectory() as scratch:
            onnx = Path(scratch, "model.onnx")
            onnx.symlink_to(model.resolve())
            links = [Path(scratch, f"{number}{image.suffix}") for number, image in enumerate(images)]
            for link, image in zip(links, images):
                link.symlink_to(image.resolve())
            dataset = Path(scratch, "images.txt")
            dataset.write_text("".join(f"{link.name}\n" for link in links), encoding="ascii")
            with _inside(scratch):
                _demand(f"it cannot read {model}", rknn.load_onnx, model=str(onnx))
                _demand(f"the build of {model} failed", rknn.build, do_quantization=True, dataset=str(dataset))
        yield rknn


def export(rknn, output: Path) -> None:
    """Write the built model to the `.rknn` file `output`."""
    with whole(output) as part:
        _demand(f"it cannot write {output}", rknn.export_rknn, str(part))


def simulate(rknn):
    """A function uint8 RGB [H, W, 3] → list of float32 outputs, dequantized, on the toolkit's simulator."""
    _demand("the simulator does not start", rknn.init_runtime)

    def run(image: np.ndarray) -> list[np.ndarray]:
        outputs = rknn.inference(inputs=[image[None]], data_format=["nhwc"])
        if outputs is None:
            raise ToolkitError("rknn-toolkit2: the simulator gave no outputs")
        return outputs

    return run


def layer_analysis(rknn, image: Path) -> str:
    """The toolkit's text on how far each layer of the built model is from FP32, on an image file of its input size.

    lib.npu.layer_errors reads it. Raises ToolkitError when the analysis fails.
    """
    with tempfile.TemporaryDirectory() as scratch, _inside(scratch):
        _demand("the per-layer analysis failed", rknn.accuracy_analysis, inputs=[str(image)], output_dir=scratch)
        return Path(scratch, "error_analysis.txt").read_text(encoding="utf-8")


@contextlib.contextmanager
def _toolkit(platform: str, algorithm: str, verbose: bool = False):
    _forget_switches()
    # Imported here: steps that only want the names above do without it.
    with deferred_torch():
        from rknn.api import RKNN

    rknn = RKNN(verbose=verbose)
    try:
        _demand(
            f"it refuses platform {platform} or algorithm {algorithm}",
            rknn.config,
            # Pixels 0..255 become 0..1, as in training; the .rknn then takes uint8 RGB.
            mean_values=[[0, 0, 0]],
            std_values=[[255, 255, 255]],
            target_platform=platform,
            quantized_algorithm=algorithm,
        )
        yield rknn
    finally:
        rknn.release()


def _forget_switches() -> None:
    """Take the toolkit's switches for its own developers out of this process's environment."""
    for name in [name for name in os.environ if name in SWITCHES or name.startswith(SWITCHES_BEGIN)]:
        del os.environ[name]


@contextlib.contextmanager
def _inside(folder):
    """Work in `folder` for a while (contextlib.chdir came with Python 3.11)."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _demand(failure: str, call, *args, **kwargs) -> None:
    """Call the toolkit; whatever way it fails (-1, an exception, even exit()) becomes one ToolkitError."""
    try:
        result = call(*args, **kwargs)
    except (Exception, SystemExit) as error:
        # Its exceptions carry a whole traceback as their text; the last line is the reason.
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ToolkitError(f"rknn-toolkit2: {failure}: {reason[0]}") from error
    if result not in (0, None):
        raise ToolkitError(f"rknn-toolkit2: {failure}")
