"""The lines that the converter prints about a model and its build."""

from collections.abc import Sequence
from pathlib import Path

from lib.accuracy.classes import BEST
from lib.accuracy.likeness import output_likeness
from lib.convert.conversion import Adapted, Conversion
from lib.data.imgsz import ImageSize
from lib.npu.build_log import Operator
from lib.npu.highest_scores import highest_scores, score_lines, unseen
from lib.npu.rknn_file import read_rknn
from lib.npu.verdict import Costs, at_fault

LISTED = 12  # most operators at fault that are listed
SHOWN = 12  # most class names that are shown


def adapted_lines(model: Path, size: ImageSize, adapted: Adapted) -> list[str]:
    """The passes that surgery applied, and a head that is not decoded."""
    lines = [f"model      {model}: {size}, {', '.join(adapted.passes) or 'left as it is'}"]
    if adapted.outputs is None:
        undecoded = "its outputs are not decoded, so there are no detections and no mAP"
        lines.append(f"head       {adapted.head}{adapted.why}; {undecoded}")
    return lines


def output_lines(conversion: Conversion, on_images: bool) -> list[str]:
    """Each output, how far it is from FP32, and the highest scores; `on_images`: it was calibrated on real images."""
    operators, lines = conversion.build.operators, []
    kinds = {operator.name.partition(":")[2]: operator.dtype for operator in operators if operator.is_end}
    outputs = conversion.adapted.outputs
    # The likeness of an output that is near zero for all images means nothing.
    silent = unseen(conversion.surest) if on_images else []
    strides = {output.name: output.stride for output in outputs.maps()} if outputs else {}
    for number, tensor in enumerate(read_rknn(conversion.rknn).outputs):
        likeness = _likeness(tensor.name, [image.likeness[number] for image in conversion.comparisons], outputs is None)
        if strides.get(tensor.name) in silent:
            likeness = f"stride {strides[tensor.name]} detected no object"
        stored = tensor.quantization if tensor.scale is not None else f"{kinds[tensor.name]}, not quantized"
        lines.append(f"output     {tensor.name} {list(tensor.shape)} {stored}, {likeness}")
    if classes := conversion.adapted.classes:
        lines.append(classes_line(classes))
    if on_images and outputs:
        lines += score_lines(highest_scores(conversion.rknn, outputs), conversion.surest)
    return lines


def _likeness(name: str, of_images: list, may_be_classes: bool) -> str:
    like = output_likeness(name, of_images)
    likeness = f"cosine {like.cosine:.4f}, signal to noise {like.snr_db:.1f} dB"
    if not may_be_classes or like.top1 is None:
        return likeness
    # What the values of a vector mean cannot be told from the graph: they may be landmarks.
    return (
        f"{likeness}, FP32's largest value (a classifier's best class) is INT8's in {like.top1:.0%} of images, among "
        f"its {BEST} largest in {like.top5:.0%}"
    )


def cost_lines(conversion: Conversion, spent: Costs) -> list[str]:
    """Time and memory on the board, the verdict, and the operators that it is due to."""
    build = conversion.build
    return [
        f"costs      {build.npu_mcycles:.2f} million cycles of convolutions, "
        f"{spent.ms_low:.1f} to {spent.ms_high:.1f} ms at {spent.clock_mhz} MHz (an estimate), "
        f"memory {build.internal_kb:.0f} KB for tensors and {build.weight_kb:.0f} KB for weights",
        f"verdict    {conversion.verdict.line}",
        *_faults(at_fault(build)),
    ]


def _faults(operators: Sequence[Operator]) -> list[str]:
    lines = [f"at fault   {operator.name}, {operator.dtype} on the {operator.target}" for operator in operators]
    return lines[:LISTED] + [f"at fault   {len(lines) - LISTED} more"] * (len(lines) > LISTED)


def classes_line(names: list[str]) -> str:
    """The line with the names of the classes, of many only the first SHOWN; numbers are no names."""
    if all(name.isdecimal() for name in names):
        return f"classes    {len(names)}, without names in the model"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"classes    {len(names)}: {', '.join(names[:SHOWN])}{more}"
