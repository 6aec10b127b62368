"""Runs a twin in onnxruntime, on one thread."""

from functools import partial

import numpy as np
import onnx
import onnxruntime

from lib.data.input_form import InputForm
from lib.npu.build import NPU, TWIN, USE_TOOLKIT
from lib.npu.twin.chip import chip_of
from lib.npu.twin.graph import twin_of
from lib.npu.twin.structure import Structure
from lib.step.errors import UserError
from lib.step.onnxruntime_session import Level, session_on_one_thread


def open_twin(twin: onnx.ModelProto, exact: bool = True) -> onnxruntime.InferenceSession:
    """A session on one thread.

    exact: convolutions add in the simulator's order. Otherwise onnxruntime may store tensors in blocks, which is
    faster, and a sum may differ in its last bit. Integer convolutions stay switched off, because their sums are cut to
    16 bits on processors without VNNI.
    """
    level = Level.ORT_ENABLE_EXTENDED if exact else Level.ORT_ENABLE_ALL
    return session_on_one_thread(twin.SerializeToString(), level, {"session.disable_quant_qdq": "1"})


def start_of(simulator: str, structure: Structure, form: InputForm):
    """A function that opens a `runner` of TWIN, TWIN_FAST or NPU. Raises UserError as `twin_of` does, with advice."""
    exact = simulator == TWIN
    try:
        model = chip_of(structure) if simulator == NPU else twin_of(structure, exact)
    except UserError as error:
        raise UserError(f"{error}; {USE_TOOLKIT}") from None
    return partial(runner, model, form, exact)


def runner(twin: onnx.ModelProto, form: InputForm | None = None, exact: bool = True):
    """A function uint8 [H, W, C] in the channels of `form` → list of float32 outputs, like a toolkit Session's."""
    session = open_twin(twin, exact)
    [given] = session.get_inputs()
    form = form or InputForm()

    def run(image: np.ndarray) -> list[np.ndarray]:
        return session.run(None, {given.name: form.tensor(image)})

    return run
