"""The golden files, which test a decoder: the model's input for one image, its raw outputs, and its detections.

image.txt      width and height of the image
input.rgb      the letterboxed image as the model's input: height x width x channels bytes, RGB unless model.json says
               otherwise
output_N.bin   output number N as the NPU writes it, NC1HWC2
detections.txt the detections with the suggested thresholds, as main.c prints them
"""

from pathlib import Path

import numpy as np

from lib.bundle.contract import InputSpec
from lib.bundle.layout import from_native, to_native
from lib.data.letterbox import Letterbox, fit_of
from lib.npu.rknn_file import RknnTensor, dequantize, quantize
from lib.step.errors import UserError


def write_outputs(folder: Path, tensors: list[RknnTensor], outputs: list[np.ndarray], fit: Letterbox) -> None:
    """Write image.txt and the simulator's float `outputs`, requantized, to `folder`.

    Raises UserError when their shapes are not those of `tensors`.
    """
    shapes = [output.shape for output in outputs]
    if shapes != [tensor.shape for tensor in tensors]:
        raise UserError(f"the simulator gives {shapes}, but the model has {tensors}")
    (folder / "image.txt").write_text(f"{fit.source[0]} {fit.source[1]}\n", encoding="utf-8")
    for number, (output, tensor) in enumerate(zip(outputs, tensors)):
        native = to_native(quantize(output, tensor), tensor.native_shape)
        (folder / f"output_{number}.bin").write_bytes(native.tobytes())


def read_outputs(folder: Path, tensors: list[RknnTensor]) -> list[np.ndarray]:
    """Read and dequantize the raw outputs in `folder`, each [1, C, H, W]. Raises UserError for a wrong file size."""
    outputs = []
    for number, tensor in enumerate(tensors):
        stored = np.fromfile(folder / f"output_{number}.bin", np.int8)
        if stored.size != np.prod(tensor.native_shape):
            raise UserError(
                f"output_{number}.bin has {stored.size} bytes, which is not the size of NC1HWC2 {tensor.native_shape}"
            )
        outputs.append(dequantize(from_native(stored.reshape(tensor.native_shape), tensor.shape[1]), tensor))
    return outputs


def read_fit(folder: Path, given: InputSpec) -> Letterbox:
    """The letterbox of the image in `folder`."""
    width, height = map(int, (folder / "image.txt").read_text(encoding="utf-8").split())
    return fit_of((width, height), given.imgsz, given.form)
