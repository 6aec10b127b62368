"""The only module that calls rknn-toolkit2.

The simulator works only on a model that was built in the same process, so simulation needs a build first: `quantized`
calibrates, builds, and yields a session for export, simulation and analysis.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from lib.data.images import write_image
from lib.data.input_form import InputForm
from lib.npu.build import Build
from lib.npu.build_log import BuildLog, demand_known_log, read_build_log
from lib.npu.deferred_torch import deferred_torch
from lib.npu.toolkit_versions import SCALE_BEHIND, in_use
from lib.npu.version_lookup import version_lookup
from lib.step import console
from lib.step.errors import ToolkitError
from lib.step.files import whole
from lib.step.supervisor import doing

if TYPE_CHECKING:
    import pandas as pd

    from lib.npu.first_half import FirstHalf
    from lib.npu.twin.structure import Parameters, Ranges, Structure

PLATFORMS = ("rv1103", "rv1103b", "rv1106", "rv1106b")

# Environment variables that 2.3.2 was observed to read. Some leave its log empty (RKNN_LOG_LEVEL, GEN_MODEL), some
# change what is built (DEBUG_COVER_TARGET, RKNN_WEIGHT_MEM_TYPE), some write files (DUMP_Q).
SWITCHES = ("DUMP_Q", "FULL_MODEL_TEST", "GEN_MODEL", "TEST_MODE", "TRANSFER_LOG_LEVEL", "USE_RK_CAFFE")
SWITCHES_BEGIN = ("DEBUG_", "RKNN_")

_CRASHED = (
    "rknn-toolkit2 itself crashed; try another head (--head, sweep.head), image size, opset of the export, or version "
    "of the toolkit (docs/troubleshooting.md)"
)


class Session:
    """An INT8 model in the process that built it; `quantized` opens and closes it."""

    def __init__(self, rknn, platform: str, printed: str):
        self._rknn, self._platform, self._printed = rknn, platform, printed

    @cached_property
    def log(self) -> BuildLog:
        """The toolkit's output during the build. Raises ToolkitError when it does not have the known form."""
        demand_known_log(in_use())
        return read_build_log(self._printed)

    def export(self, output: Path) -> Build:
        """Write the model to the `.rknn` file `output`; return its facts. Raises ToolkitError, first, as `log` does."""
        log = self.log
        with whole(output) as part:
            doing(f"writing {output}")
            _demand(f"it cannot write {output}", self._rknn.export_rknn, str(part))
        return Build.of(log, in_use(), self._platform, output.stat().st_size)

    def simulate(self):
        """A function uint8 [H, W, C] → list of float32 outputs, dequantized, on the toolkit's simulator."""
        _in_toolkit("starting the simulator")
        _demand("the simulator does not start", self._rknn.init_runtime)

        def run(image: np.ndarray) -> list[np.ndarray]:
            _in_toolkit("simulating")
            outputs = self._rknn.inference(inputs=[image[None]], data_format=["nhwc"])
            doing("")
            if outputs is None:
                raise ToolkitError("rknn-toolkit2: the simulator gave no outputs")
            return outputs

        return run

    def analyse(self, image: np.ndarray) -> "pd.DataFrame":
        """How far each layer is from FP32 (see lib.npu.layer_errors) on uint8 [H, W, C] of the input's size.

        Raises ToolkitError when the analysis fails or does not have the known form.
        """
        # Imported here: it imports Pandas, which the other steps do not need.
        from lib.npu.layer_errors import read_layer_errors

        with self._analysis(image) as folder:
            return read_layer_errors(Path(folder, "error_analysis.txt").read_text(encoding="utf-8"))

    def dumps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The simulator's tensors by name, dequantized float32, on uint8 [H, W, C] of the input's size.

        Raises ToolkitError when the analysis fails or does not have the known form.
        """
        with self._analysis(image) as folder:
            _, _, *lines = Path(folder, "map_name_to_file.txt").read_text(encoding="utf-8").splitlines()
            files = {
                name: Path(folder, "simulator", "npy", file).with_suffix(".npy") for name, file in map(str.split, lines)
            }
            tensors = {name: np.load(file) for name, file in files.items() if file.exists()}
        if not tensors:
            raise ToolkitError("rknn-toolkit2: its per-layer analysis has no tensor")
        return tensors

    @contextlib.contextmanager
    def _analysis(self, image: np.ndarray):
        with tempfile.TemporaryDirectory() as scratch, _inside(scratch):
            path = Path(scratch, "image.png")
            write_image(path, image)
            _in_toolkit("analysing layers")
            failure = "the per-layer analysis failed"
            _demand(failure, self._rknn.accuracy_analysis, inputs=[str(path)], output_dir=scratch)
            yield scratch


@contextlib.contextmanager
def quantized(model: Path, images: list[Path], platform: str, algorithm: str, form: InputForm | None = None):
    """A Session with the INT8 model, built from an ONNX and calibrated on `images`; released at the end.

    images: files of the model's input size, fitted in the model's `form`. Raises ToolkitError when the toolkit refuses
    the model or an image, or when the build fails.
    """
    with _toolkit(platform, algorithm, form or InputForm()) as rknn:
        with console.captured() as printed, _loaded(rknn, model, images):
            _in_toolkit(f"building {model}")
            _demand(f"the build of {model} failed", rknn.build, do_quantization=True, dataset=_DATASET)
            session = Session(rknn, platform, printed())
        yield session


@contextlib.contextmanager
def quantized_with_structure(
    model: Path,
    images: list[Path],
    platform: str,
    form: InputForm | None = None,
    algorithm: str = "normal",
    choose: "Callable[[Structure], Ranges] | None" = None,
):
    """A Session as from `quantized`, and the Structure that it was built from.

    choose: makes the ranges for the build from the structure, whose ranges are those on `images`. Raises ToolkitError
    as `quantized` does.
    """
    with _toolkit(platform, algorithm, form or InputForm()) as rknn:
        yield _build_with_structure(rknn, platform, model, images, choose)


@contextlib.contextmanager
def built_with_ranges(
    model: Path,
    ranges: "Ranges | Callable[[Structure], Ranges]",
    image: Path,
    platform: str,
    form: InputForm | None = None,
    parameters: "Parameters | None" = None,
):
    """A Session with the INT8 model that has the given ranges, and its Structure; released at the end.

    ranges: lowest and highest value of all tensors of the structure, by name; or a function that makes them from the
    structure with the ranges on `image`, a file as for `quantized`. The toolkit calibrates only on that image, to find
    out how it fuses the model, which takes a second or two however many images the ranges come from. parameters:
    those that replace the model's. Raises ToolkitError as `quantized` does, and when a tensor has no range.
    """
    choose = ranges if callable(ranges) else lambda structure: ranges
    with _toolkit(platform, "normal", form or InputForm()) as rknn:
        yield _build_with_structure(rknn, platform, model, [image], choose, parameters)


def _build_with_structure(rknn, platform: str, model: Path, images: list[Path], choose, parameters=None):
    """Calibrate and build in the two halves of the hybrid step; return the Session and the Structure."""
    with console.captured() as printed, _loaded(rknn, model, images, parameters):
        structure = _second_half(rknn, model, _calibrate(rknn, model), choose)
        session = Session(rknn, platform, printed())
    return session, structure


def structure_of(model: Path, images: list[Path], platform: str, form: InputForm | None = None) -> "Structure":
    """The structure that the toolkit makes from an ONNX, with the ranges on `images` as for the algorithm `normal`.

    Raises ToolkitError as `quantized` does.
    """
    with _toolkit(platform, "normal", form or InputForm()) as rknn, console.captured(), _loaded(rknn, model, images):
        return _calibrate(rknn, model)


def first_half_of(model: Path, image: Path, platform: str, form: InputForm | None = None) -> "FirstHalf":
    """The first half of a build, calibrated on `image` as for `quantized`; `built_from` does the second.

    Raises ToolkitError as `quantized` does.
    """
    from lib.npu.first_half import FirstHalf

    source = model.absolute()
    with _toolkit(platform, "normal", form or InputForm()) as rknn, console.captured(), _loaded(rknn, model, [image]):
        _calibrate(rknn, model)
        return FirstHalf.read(Path(), source)


@contextlib.contextmanager
def built_from(
    half: "FirstHalf",
    model: Path,
    choose: "Callable[[Structure], Ranges]",
    platform: str,
    form: InputForm | None = None,
):
    """As `built_with_ranges`, from the first half of the build that `first_half_of` made for the same model."""
    source = model.absolute()
    with _toolkit(platform, "normal", form or InputForm()) as rknn:
        with console.captured() as printed, tempfile.TemporaryDirectory() as scratch, _inside(scratch):
            half.write(Path(), source)
            structure = _second_half(rknn, model, _structure(), choose)
            session = Session(rknn, platform, printed())
        yield session, structure


# File names in the folder that `_loaded` works in; the hybrid step makes the last three.
MODEL, _DATASET = "model.onnx", "images.txt"
FUSED, DATA, QUANTIZATION = "model.model", "model.data", "model.quantization.cfg"


def _calibrate(rknn, model: Path) -> "Structure":
    _in_toolkit(f"calibrating {model}")
    with _settings_as_json():
        _demand(f"the calibration of {model} failed", rknn.hybrid_quantization_step1, dataset=_DATASET)
    return _structure()


def _structure() -> "Structure":
    """The structure in the files of the hybrid step in the working folder."""
    # Imported here: steps that only need this module's names do not need onnx.
    import onnx

    from lib.npu.twin.structure import read_settings, read_structure

    return read_structure(onnx.load(FUSED), read_settings(Path(QUANTIZATION).read_text(encoding="utf-8")))


def _second_half(rknn, model: Path, structure: "Structure", choose) -> "Structure":
    """Build from the files of the hybrid step in the working folder; return the structure that is built."""
    if choose is not None:
        structure = structure.with_ranges(choose(structure))
    structure.write_ranges(Path(QUANTIZATION))
    _in_toolkit(f"building {model}")
    with _settings_as_json():
        _demand(
            f"the build of {model} failed",
            rknn.hybrid_quantization_step2,
            model_input=FUSED,
            data_input=DATA,
            model_quantization_cfg=QUANTIZATION,
        )
    return structure


@contextlib.contextmanager
def _settings_as_json():
    """The toolkit writes and reads its settings, which `write_ranges` writes too, as JSON.

    JSON is YAML too, but ruamel.yaml writes and reads it in pure Python, with the places of comments: a fifth of a
    second each time.
    """
    # The toolkit's own requirement.
    from ruamel.yaml import YAML

    dump, load = YAML.dump, YAML.load
    YAML.dump = lambda _, settings, file: json.dump(settings, file)
    YAML.load = lambda _, file: json.load(file)
    try:
        yield
    finally:
        YAML.dump, YAML.load = dump, load


@contextlib.contextmanager
def _loaded(rknn, model: Path, images: list[Path], parameters: "Parameters | None" = None):
    """Work in a scratch folder, where the list _DATASET names the images, with the model loaded."""
    # The toolkit writes check files to the working folder, splits the list of images at white space, and reads it in
    # the locale's encoding; so the list has plain names in that folder.
    with tempfile.TemporaryDirectory() as scratch:
        _put(model, Path(scratch, MODEL), parameters)
        links = [Path(scratch, f"{number}{image.suffix}") for number, image in enumerate(images)]
        for link, image in zip(links, images):
            link.symlink_to(image.resolve())
        Path(scratch, _DATASET).write_text("".join(f"{link.name}\n" for link in links), encoding="ascii")
        with _inside(scratch), _with_names_of(dict(zip(links, images))):
            _in_toolkit(f"reading {model}")
            _demand(f"it cannot read {model}", rknn.load_onnx, model=MODEL)
            yield


@contextlib.contextmanager
def _with_names_of(images: dict[Path, Path]):
    """Raise the toolkit's errors again with the names of the images, not of the links to them."""
    try:
        yield
    except ToolkitError as error:
        text = str(error)
        for link, image in images.items():
            text = text.replace(str(link), str(image))
        raise ToolkitError(text) from error


def _put(model: Path, path: Path, parameters: "Parameters | None") -> None:
    """Put the model at `path`, with other parameters if there are any, in a form that the version in use supports."""
    if parameters is None and in_use() != SCALE_BEHIND:
        path.symlink_to(model.resolve())
        return
    import onnx

    from lib.npu.attention_scale import with_scale_behind
    from lib.npu.twin.structure import with_parameters

    changed = onnx.load(model)
    if parameters is not None:
        # In the ONNX, because the toolkit reads parameters from its own file of weights.
        changed = with_parameters(changed, parameters)
    if in_use() == SCALE_BEHIND:
        changed = with_scale_behind(changed) or changed
    onnx.save(changed, path)


@contextlib.contextmanager
def _toolkit(platform: str, algorithm: str, form: InputForm):
    _forget_switches()
    # Imported here: steps that only need the names above do not need it.
    with version_lookup():
        with deferred_torch():
            from rknn.api import RKNN

        # Otherwise it does not print the tables that the build's facts are read from.
        rknn = RKNN(verbose=True)
    # With more threads, matrix products add in another order. Ranges then differ by a millionth, some scales by a bit,
    # and the mAP by 0.004: it would depend on the machine, on -j and on how the step is started.
    with threadpool_limits(1, "blas"):
        try:
            _demand(
                f"it refuses platform {platform} or algorithm {algorithm}",
                rknn.config,
                # Pixels are normalized as in training; the .rknn then takes uint8, channels in the network's order.
                mean_values=[_plain_numbers(form.pixel_mean)],
                std_values=[_plain_numbers(form.pixel_std)],
                target_platform=platform,
                quantized_algorithm=algorithm,
            )
            yield rknn
        finally:
            rknn.release()


def _plain_numbers(values: tuple[float, ...]) -> list[int | float]:
    """The values, whole numbers as int."""
    return [int(value) if value.is_integer() else value for value in values]


def _forget_switches() -> None:
    """Remove the toolkit's switches for its own developers from this process's environment."""
    for name in [name for name in os.environ if name in SWITCHES or name.startswith(SWITCHES_BEGIN)]:
        del os.environ[name]


@contextlib.contextmanager
def _inside(folder):
    """Change the working folder to `folder` while the context is open (contextlib.chdir needs Python 3.11)."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _in_toolkit(what: str) -> None:
    """Note that the toolkit does this until `_demand` returns."""
    doing(what, _CRASHED)


def _demand(failure: str, call, *args, **kwargs) -> None:
    """Call the toolkit; any kind of failure (-1, an exception, even exit()) becomes one ToolkitError."""
    try:
        result = call(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise ToolkitError(f"rknn-toolkit2: {failure}: {_reason(error)}") from error
    finally:
        doing("")
    if result not in (0, None):
        raise ToolkitError(f"rknn-toolkit2: {failure}")


def _reason(error: BaseException) -> str:
    """The line that says what went wrong: an exception of the toolkit holds a whole traceback, and then some advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"\w+(Error|Exception): ", line)]
    return (named or lines or [type(error).__name__])[-1]
