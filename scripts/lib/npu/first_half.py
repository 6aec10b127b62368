"""What the first half of the toolkit's hybrid step makes of a graph, kept, so that each build begins with the second.

The first half fuses operators and calibrates on one image. It takes one to two seconds, and its result is the same for
all calibration sets of a graph, because their ranges replace those of the image.

It leaves three files: `.model`, an ONNX with the operators that the toolkit fused; `.data`, a pickle of settings and of
the parameters' ranges; `.quantization.cfg`, a JSON with each tensor's range. What is kept of them depends on nothing
but the graph, the image and the toolkit: parameters that are the ONNX's own are left out, and so is the path of the
ONNX. The pickle is kept as JSON, because loading a pickle runs code.
"""

import argparse
import json
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from lib.npu.toolkit import DATA, FUSED, MODEL, QUANTIZATION
from lib.npu.twin.structure import Structure, read_settings, read_structure
from lib.step.errors import ToolkitError

# Settings of the toolkit in the pickle: the only object in it that is not plain data.
_SETTINGS, _PATH = "args", "ori_model_path"
# Marks a constant whose values are those of the ONNX's constant of that name.
_OF_SOURCE = "as in the ONNX"


@dataclass(frozen=True)
class FirstHalf:
    """The three files in the form in which they are kept, as bytes."""

    fused: bytes
    data: bytes
    quantization: bytes

    @classmethod
    def read(cls, folder: Path, source: Path) -> "FirstHalf":
        """What the toolkit left in `folder` for the ONNX `source`. Raises ToolkitError for files of an unknown form."""
        fused = _once(onnx.load(folder / FUSED))
        own = _constants(onnx.load(source))
        for constant in fused.graph.initializer:
            if constant.name in own and _key(constant) == _key(own[constant.name]):
                constant.CopyFrom(onnx.TensorProto(name=constant.name, doc_string=_OF_SOURCE))
        try:
            # The toolkit has just written this file.
            data = pickle.loads((folder / DATA).read_bytes())
            data[_PATH] = MODEL
            data[_SETTINGS] = vars(data[_SETTINGS])
            text = json.dumps(data)
        except (pickle.UnpicklingError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ToolkitError(f"rknn-toolkit2: {DATA} of its hybrid step is not of the known form") from error
        return cls(fused.SerializeToString(deterministic=True), text.encode(), (folder / QUANTIZATION).read_bytes())

    def write(self, folder: Path, source: Path) -> None:
        """Put the three files into `folder`, as the toolkit left them for the ONNX `source`."""
        (folder / FUSED).write_bytes(self._model(source).SerializeToString())
        data = json.loads(self.data)
        data[_SETTINGS] = argparse.Namespace(**data[_SETTINGS])
        (folder / DATA).write_bytes(pickle.dumps(data))
        (folder / QUANTIZATION).write_bytes(self.quantization)

    def structure(self, source: Path) -> Structure:
        """The structure of the ONNX `source`, with the ranges on the image."""
        return read_structure(self._model(source), read_settings(self.quantization.decode()))

    def _model(self, source: Path) -> onnx.ModelProto:
        """The fused model with all its constants."""
        own = _constants(onnx.load(source))
        fused = onnx.ModelProto.FromString(self.fused)
        for constant in fused.graph.initializer:
            if constant.doc_string == _OF_SOURCE:
                constant.CopyFrom(own[constant.name])
        return fused


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {constant.name: constant for constant in model.graph.initializer}


def _key(constant: onnx.TensorProto) -> tuple:
    """Equal for constants with the same values."""
    values = onnx.numpy_helper.to_array(constant)
    return values.dtype.str, values.shape, np.ascontiguousarray(values).tobytes()


def _once(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each constant only once.

    The toolkit writes a constant that several nodes read once for each: `sizes`, `sizes_1`. Built from those files, the
    `.rknn` would hold all of them.
    """
    constants = _constants(model)
    repeated = {}
    for name, constant in constants.items():
        first = re.sub(r"_\d+$", "", name)
        if first != name and first in constants and _key(constants[first]) == _key(constant):
            repeated[name] = first
    for node in model.graph.node:
        node.input[:] = [repeated.get(name, name) for name in node.input]
    for entries in (model.graph.initializer, model.graph.input):
        kept = [entry for entry in entries if entry.name not in repeated]
        del entries[:]
        entries.extend(kept)
    return model
