"""Describe any `.rknn` file.

Prints the version of the toolkit that built it, its platform, its input, and for each output the shape, the layout in
memory, scale, zero point, and the lowest and highest value that it can have. An output of scores whose highest value is
far below 1 cannot give a sure detection. Nothing is run.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

from pathlib import Path

from lib.npu.rknn_file import RknnContents, RknnTensor, read_contents
from lib.step.arguments import StepParser
from lib.step.errors import run_step


def main(argv=None):
    """Run the command."""
    parser = StepParser(__doc__)
    parser.add_argument("model", type=Path, metavar="FILE.rknn")
    args = parser.parse_args(argv)
    for line in lines(read_contents(args.model)):
        print(line)


def lines(contents: RknnContents):
    """Yield lines of text about the contents."""
    yield f"toolkit   {contents.toolkit}; the board's runtime must not be older"
    yield f"platform  {' '.join((contents.platform, *contents.others))}"
    for tensor in contents.inputs:
        yield f"input     {tensor.name} {list(tensor.shape)} {_dtype(tensor)}, {_layout(tensor)}"
        if tensor.name in contents.normalization:
            mean, std = contents.normalization[tensor.name]
            yield f"          pixels 0 to 255, less {_numbers(mean)}, divided by {_numbers(std)}"
    for number, tensor in enumerate(contents.outputs):
        yield f"output {number:<2} {tensor.name} {list(tensor.shape)} {_dtype(tensor)}, {_layout(tensor)}"
        if tensor.scale is not None:
            yield f"          scale {tensor.scale:.9g}, zero point {tensor.zero_point}: {_range(tensor)}"


def _dtype(tensor: RknnTensor) -> str:
    return tensor.dtype or "of an unknown type"


def _layout(tensor: RknnTensor) -> str:
    """The tensor's layout in memory."""
    native = tensor.native_shape
    if native[-1] == 1 or len(native) != 5:
        return f"rank {len(tensor.shape)}, as its shape is" if len(tensor.shape) != 4 else "NCHW"
    if native[1] == 1 and native[4] == tensor.shape[1]:
        return f"NHWC {[native[0], *native[2:]]}"
    padding = native[1] * native[4] - tensor.shape[1]
    return f"NC1HWC2 {list(native)}, the last {padding} channels are padding" if padding else f"NC1HWC2 {list(native)}"


def _range(tensor: RknnTensor) -> str:
    low, high = ((stored - tensor.zero_point) * tensor.scale for stored in (-128, 127))
    return f"{low:.4g} to {high:.4g}"


def _numbers(values: tuple[float, ...]) -> str:
    """Values per channel, or one if all are the same."""
    return " ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


if __name__ == "__main__":
    sys.exit(run_step(main))
