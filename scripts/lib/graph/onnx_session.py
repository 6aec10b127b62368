"""Runs an ONNX in FP32 with onnxruntime, the reference for everything else."""

import numpy as np
import onnxruntime

from lib.data.input_form import InputForm
from lib.step.errors import UserError
from lib.step.onnxruntime_session import Level, session_on_one_thread


def open_session(model, as_written: bool = False) -> onnxruntime.InferenceSession:
    """A single-threaded session for a path or serialized bytes. Raises UserError when onnxruntime refuses it.

    as_written: run each operator by itself. Otherwise onnxruntime fuses some: a Conv between DequantizeLinear and
    QuantizeLinear becomes an integer one, whose sums are cut to 16 bits on processors without VNNI.
    """
    level = Level.ORT_DISABLE_ALL if as_written else Level.ORT_ENABLE_ALL
    try:
        return session_on_one_thread(model if isinstance(model, bytes) else str(model), level)
    except Exception as error:
        name = "the model" if isinstance(model, bytes) else model
        raise UserError(f"onnxruntime cannot load {name}: {str(error).splitlines()[0]}") from None


def to_tensor(image: np.ndarray, form: InputForm | None = None) -> np.ndarray:
    """uint8 [H, W, C] in the channels of `form` to the network's input: float32 [1, C, H, W], by default 0..1."""
    return (form or InputForm()).tensor(image)


def session_input_form(session: onnxruntime.InferenceSession) -> InputForm:
    """The input form of a session's model, as in lib.graph.input_form."""
    form = InputForm.from_metadata(session.get_modelmeta().custom_metadata_map)
    return form or (InputForm(channels="grey") if session.get_inputs()[0].shape[1:2] == [1] else InputForm())


def infer(session: onnxruntime.InferenceSession, tensor: np.ndarray, outputs=None) -> list[np.ndarray]:
    """The named outputs, or all, for one input tensor; FP16 models have FP16 inputs and outputs."""
    [given] = session.get_inputs()
    half = given.type == "tensor(float16)"
    return session.run(outputs, {given.name: tensor.astype(np.float16) if half else tensor})


def infer_image(session: onnxruntime.InferenceSession, image: np.ndarray, outputs=None) -> list[np.ndarray]:
    """`infer` for uint8 [H, W, C] in the channels that the session's model expects."""
    return infer(session, to_tensor(image, session_input_form(session)), outputs)
