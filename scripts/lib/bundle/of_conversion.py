"""The bundle of a model from the one-shot converter: the same as the workflow makes for such a variant."""

from pathlib import Path

from lib.bundle.contract import Proof
from lib.bundle.make import Evaluation, Subject, write_bundle
from lib.convert.conversion import Conversion, Request
from lib.convert.truth import Measured
from lib.graph.onnx_file import load
from lib.graph.surgery.graph import input_size
from lib.results.sweep import Variant


def bundle_conversion(
    name: str, request: Request, conversion: Conversion, measured: Measured, cc: list[str], folder: Path
) -> Proof:
    """Make the bundle of the model `name` as the new `folder`; `cc` compiles its program.

    Raises UserError as `write_bundle` does.
    """
    adapted, images = conversion.adapted, [image.path for image in conversion.comparisons]
    imgsz, truth = str(input_size(load(adapted.onnx))), dict(zip(images, measured.truth))
    variant = Variant(name, imgsz, adapted.head, request.algorithm, len(request.calibration))
    subject = Subject(
        variant,
        conversion.rknn,
        adapted.onnx,
        request.platform,
        conversion.verdict,
        measured.fp32,
        measured.int8,
    )
    part = "heldout" if measured.held_out else "all"
    evaluation = Evaluation(part, images, measured.names, lambda task, image, size: truth[image])
    return write_bundle(subject, list(request.calibration), evaluation, 1, cc, folder)
