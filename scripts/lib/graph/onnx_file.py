"""Reading and writing ONNX files."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from lib.step.errors import UserError
from lib.step.files import whole


def load(path) -> onnx.ModelProto:
    """The model in the file `path`. Raises UserError when it is missing, damaged or no ONNX."""
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise UserError(f"model {path} does not exist") from None
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise UserError(
            f"{path} is no valid ONNX model: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None
    return model


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The model's metadata by its key."""
    return {entry.key: entry.value for entry in model.metadata_props}


def save(model: onnx.ModelProto, path) -> None:
    """Write `model` to `path`, whole or not at all."""
    with whole(path) as part:
        Path(part).write_bytes(model.SerializeToString(deterministic=True))
