"""`convert`: simplify, adapt, save, quantize, judge and, if there are images, compare with FP32."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from lib.convert.comparison import ImageComparison, compare_precisions
from lib.data.images import read_fitted
from lib.data.input_form import InputForm
from lib.detector.head import AS_IS, HEADS, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.graph import families
from lib.graph.input_form import input_form_of
from lib.graph.onnx_file import save
from lib.graph.output_spec import class_names, output_spec_of
from lib.graph.surgery.as_is import is_as_is
from lib.graph.surgery.fixed_size import demand_strides
from lib.graph.surgery.graph import Graph, input_size
from lib.graph.surgery.pipeline import adapt, adapted_spec
from lib.graph.surgery.proof import PROVEN, ImageFiles
from lib.graph.surgery.simplify import simplify
from lib.npu.build import Build
from lib.npu.int8 import Quantization, int8_model
from lib.npu.verdict import CAMERA_MB, Verdict, verdict
from lib.step.errors import Incomplete, UserError


@dataclass(frozen=True)
class Request:
    """Which model to convert, with which images, and for which board."""

    model: onnx.ModelProto  # of one fixed size; as exported, or with `head` from an earlier surgery
    head: str | None  # None: the one that suits the model, `split` for a detector of a known family, else `as_is`
    calibration: tuple[Path, ...]  # files of the model's size, in the form of its input
    compared: tuple[Path, ...] = ()  # images of any size to compare INT8 with FP32 on
    proven_on_noise: bool = False  # prove surgery only on noise, not on calibration images too
    platform: str = "rv1106"
    algorithm: str = "normal"
    cma_mb: int = 66  # the board's memory for contiguous buffers, in MB of 2^20 bytes
    camera_mb: int = CAMERA_MB  # what the camera's buffers take of it
    seed: int = 0  # of the noise that surgery is proven on


@dataclass(frozen=True)
class Adapted:
    """A model after surgery, in FP32."""

    onnx: Path
    head: str
    stranger: str | None  # why it belongs to no known family, if the head was not chosen and is `as_is` therefore
    outputs: OutputSpec | None  # None: they are not decoded
    classes: list[str]
    passes: list[str]  # of surgery, by name

    @property
    def why(self) -> str:
        """The end of a sentence about the head: `stranger`, if there is one."""
        return f": {self.stranger}" if self.stranger else ""


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    adapted: Adapted
    rknn: Path
    build: Build
    verdict: Verdict
    form: InputForm  # of its input
    comparisons: list[ImageComparison]  # one per image of the request's `compared`
    surest: dict[int, float]  # the highest score of each stride in the calibration images


def convert(request: Request, folder: Path, when_adapted: Callable[[Adapted], None] | None = None) -> Conversion:
    """Make adapted.onnx and model.rknn in `folder`.

    `when_adapted` is called between surgery and the build, which may take minutes. Raises UserError for a model that
    cannot have the requested head or that surgery changes, ToolkitError when the toolkit refuses it.
    """
    adapted = _adapt(request, folder / "adapted.onnx")
    if when_adapted:
        when_adapted(adapted)
    rknn = folder / "model.rknn"
    form, calibration = input_form_of(request.model), list(request.calibration)
    quantization = Quantization(adapted.onnx, request.platform, request.algorithm, form, adapted.outputs)
    with int8_model(quantization, calibration) as built:
        session, surest = built.session, built.surest
        build = session.export(rknn)
        judged = verdict(build, request.cma_mb, adapted.head, request.camera_mb)
        images, size, outputs = list(request.compared), input_size(request.model), adapted.outputs
        comparisons = compare_precisions(adapted.onnx, session, size, outputs, form, images) if images else []
    return Conversion(adapted, rknn, build, judged, form, comparisons, surest)


def _adapt(request: Request, path: Path) -> Adapted:
    """Simplify the model and run surgery on it; write the adapted model to `path`."""
    model, depth = request.model, input_form_of(request.model).depth
    calibration = [] if request.proven_on_noise else list(request.calibration)
    images = ImageFiles(calibration, lambda image: read_fitted(image, depth))
    # A model that already went through surgery was simplified before that, and is not changed.
    if adapted_spec(model) is None:
        model, _ = simplify(model, list(images[:PROVEN]), request.seed)
    head, stranger = (request.head, None) if request.head else _suitable_head(model)
    if head in HEADS:
        demand_strides(input_size(model))
    try:
        model, record = adapt(model, head, images, request.seed)
    except Incomplete:
        raise
    except UserError as error:
        if request.head or head == AS_IS:
            raise
        # A model that the proof refuses only looked like one of a family.
        head, stranger = AS_IS, str(error).removesuffix("; nothing was written")
        model, record = adapt(model, head, images, request.seed)
    save(model, path)
    passes = [differences["pass"] for differences in record["passes"]]
    if is_as_is(model):
        return Adapted(path, head, stranger, None, [], passes)
    return Adapted(path, head, stranger, output_spec_of(model), class_names(model), passes)


def _suitable_head(model: onnx.ModelProto) -> tuple[str, str | None]:
    """The head for a simplified model, and for `as_is` why the model belongs to no known family."""
    if spec := adapted_spec(model):
        return spec.head, None
    try:
        families.recognize(Graph(model))
        demand_strides(input_size(model))
    except Incomplete as error:
        raise Incomplete(f"{error}; or convert it with --head {AS_IS}") from None
    except UserError as error:
        return AS_IS, str(error)
    return SPLIT, None
