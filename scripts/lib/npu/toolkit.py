"""The one place that talks to rknn-toolkit2.

Calibration and compilation go through the toolkit's two hybrid-quantization steps: the first one measures value
ranges (slow, cached as three files), the second builds from them (seconds). The simulator works only on a model that
was built in the same process, so an evaluation runs the second step itself; mAP is the same as after a plain `build`.
"""

import contextlib
import importlib.metadata
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from lib.graph.onnx_file import load, metadata
from lib.npu.layer_errors import read_layer_errors
from lib.step.errors import ToolkitError
from lib.step.files import whole, write_json

PLATFORMS = ("rv1103", "rv1103b", "rv1106", "rv1106b")
ALGORITHMS = ("normal", "mmse", "kl_divergence")
# The toolkit names these after the ONNX; ours is always called `calibrated`.
CALIBRATED = ("calibrated.model", "calibrated.data", "calibrated.quantization.cfg")
# Beside them: what the ONNX says of its outputs, which the toolkit's files do not keep.
METADATA = "metadata.json"


def version() -> str:
    """The toolkit's version."""
    return importlib.metadata.version("rknn-toolkit2")


def calibrate(model: Path, pictures: list[Path], platform: str, algorithm: str, output: Path) -> None:
    """Measure value ranges of the ONNX `model` on `pictures` of its input size.

    Writes CALIBRATED and METADATA into folder `output`.

    Raises ToolkitError when the toolkit refuses the model or a picture.
    """
    with _toolkit(platform, algorithm) as rknn, tempfile.TemporaryDirectory() as scratch:
        # It writes into the working folder and splits the list of pictures at white space.
        onnx = Path(scratch, "calibrated.onnx")
        onnx.symlink_to(model.resolve())
        for number, picture in enumerate(pictures):
            Path(scratch, f"{number}{picture.suffix}").symlink_to(picture.resolve())
        dataset = Path(scratch, "pictures.txt")
        dataset.write_text("".join(f"{scratch}/{i}{picture.suffix}\n" for i, picture in enumerate(pictures)))
        with _inside(scratch):
            _demand(f"it cannot read {model}", rknn.load_onnx, model=str(onnx))
            _demand(f"calibration of {model} failed", rknn.hybrid_quantization_step1, dataset=str(dataset))
        with whole(output) as part:
            part.mkdir()
            for name in CALIBRATED:
                os.replace(Path(scratch, name), part / name)
            write_json(part / METADATA, metadata(load(model)))


@contextlib.contextmanager
def built(calibrated: Path, platform: str, algorithm: str, verbose: bool = False):
    """A toolkit object holding the INT8 model built from the folder that `calibrate` wrote, released at the end.

    With `verbose` the build prints its table of operators. Raises ToolkitError when the build fails.
    """
    with _toolkit(platform, algorithm, verbose) as rknn, tempfile.TemporaryDirectory() as scratch:
        # The second step writes check files into the working folder.
        paths = [str((calibrated / name).resolve()) for name in CALIBRATED]
        with _inside(scratch):
            _demand(f"the build from {calibrated} failed", rknn.hybrid_quantization_step2, *paths)
        yield rknn


def export(rknn, output: Path) -> None:
    """Write the built model to the `.rknn` file `output`."""
    with whole(output) as part:
        _demand(f"it cannot write {output}", rknn.export_rknn, str(part))


def simulate(rknn):
    """A function uint8 RGB [H, W, 3] → list of float32 outputs, dequantized, on the toolkit's simulator."""
    _demand("the simulator does not start", rknn.init_runtime)

    def run(picture: np.ndarray) -> list[np.ndarray]:
        outputs = rknn.inference(inputs=[picture[None]], data_format=["nhwc"])
        if outputs is None:
            raise ToolkitError("rknn-toolkit2: the simulator gave no outputs")
        return outputs

    return run


def layer_errors(rknn, picture: Path) -> pd.DataFrame:
    """How far each layer of the built model is from FP32, on an image file of its input size: lib.npu.layer_errors."""
    with tempfile.TemporaryDirectory() as scratch, _inside(scratch):
        _demand("the per-layer analysis failed", rknn.accuracy_analysis, inputs=[str(picture)], output_dir=scratch)
        return read_layer_errors(Path(scratch, "error_analysis.txt").read_text())


@contextlib.contextmanager
def _toolkit(platform: str, algorithm: str, verbose: bool = False):
    # Imported here: it takes seconds and brings torch along.
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
