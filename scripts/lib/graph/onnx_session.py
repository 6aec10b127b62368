"""Running an ONNX in FP32 with onnxruntime, the reference for everything else."""

import numpy as np
import onnxruntime

from lib.step.errors import UserError


def open_session(model) -> onnxruntime.InferenceSession:
    """A single-threaded session for a path or serialized bytes. Raises UserError when onnxruntime refuses it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        source = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        name = "the model" if isinstance(model, bytes) else model
        raise UserError(f"onnxruntime cannot load {name}: {str(error).splitlines()[0]}") from None


def to_tensor(image: np.ndarray) -> np.ndarray:
    """uint8 RGB [H, W, 3] to the network's input: float32 [1, 3, H, W], 0..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / 255


def infer(session: onnxruntime.InferenceSession, tensor: np.ndarray, outputs=None) -> list[np.ndarray]:
    """The named outputs, or all, for one input tensor; FP16 models get and give FP16."""
    [given] = session.get_inputs()
    half = given.type == "tensor(float16)"
    return session.run(outputs, {given.name: tensor.astype(np.float16) if half else tensor})
