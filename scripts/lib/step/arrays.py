"""Named arrays as a file: NumPy's .npz, compressed, without a time stamp."""

import io
import zipfile
import zlib

import numpy as np

from lib.step.errors import UserError
from lib.step.files import require, whole

# What a flipped bit makes of a zip: zipfile takes it for one of a later version, or an encrypted one, too.
_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError)


def write_arrays(path, **arrays) -> None:
    """Write named arrays as a .npz file, whole or not at all."""
    # Not straight into the file: on a full disk, closing the zip would print an error of its own beside our sentence.
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with whole(path) as part:
        part.write_bytes(content.getvalue())


def read_arrays(path, what: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All arrays of a .npz file. Raises UserError, which calls the file `what`, when the file is missing or damaged.

    A file that lacks one of `names` counts as damaged.
    """
    content = require(path, what).read_bytes()  # a folder, or a file that may not be read, is not damaged
    try:
        file = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it is a .npy file, one array without a name")
        with file:
            return {name: file[name] for name in dict.fromkeys((*names, *file.files))}
    except _DAMAGED as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run again") from None
