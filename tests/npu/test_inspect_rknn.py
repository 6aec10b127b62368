"""inspect_rknn.py reads any toolkit's `.rknn`: outputs of any rank, several inputs, containers old and new."""

import json
import struct

import flatbuffers
import numpy as np
import pytest

import inspect_rknn
from lib.npu.rknn_file import read_rknn
from lib.step.errors import UserError

IMAGE = ("images", (1, 3, 64, 96), (1, 1, 64, 96, 3), "int8", 1 / 255, -128)
SCORES = ("scores", (1, 20, 8, 12), (1, 2, 8, 12, 16), "int8", 0.004, -128)


def vector(builder, values, kind="i"):
    return builder.CreateNumpyVector(np.array(values, np.float32 if kind == "f" else np.int32))


def table(builder, fields: dict) -> int:
    """A table with offsets in the fields of these numbers."""
    builder.StartObject(max(fields) + 1)
    for number, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(number, offset, 0)
    return builder.EndObject()


def tables(builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def rknn(inputs, outputs, version=0x1004, platforms=("rv1106",), sections=True) -> bytes:
    """A `.rknn` with these tensors; `sections` puts others before the graph."""
    builder = flatbuffers.Builder()
    described = []
    for name, shape, native, dtype, scale, zero_point in (*inputs, *outputs):
        fields = {3: vector(builder, native), 4: vector(builder, shape), 5: builder.CreateString(name)}
        fields |= {6: vector(builder, [scale], "f"), 7: vector(builder, [zero_point])}
        described.append((table(builder, fields), {"url": name, "size": shape, "dtype": {"vx_type": dtype}}))
    count, all_tensors = len(inputs), [offset for offset, _ in described]
    places = {2: vector(builder, range(count)), 3: vector(builder, range(count, len(all_tensors)))}
    graph = table(builder, {0: tables(builder, all_tensors)} | places)
    source = {"attrs": {each[0]: {"mean": [0] * 3, "std": [255] * 3} for each in inputs}}
    model = {2: tables(builder, [graph]), 3: builder.CreateString(str(source))}
    builder.Finish(table(builder, model), b"RKNN")
    flatbuffer = bytes(builder.Output())
    data = struct.pack("<I", len(flatbuffer)) + bytes(60) + flatbuffer if sections else flatbuffer
    described = json.dumps(
        {"norm_tensor": [each for _, each in described], "version": "1.6.0+81f21f4d", "target_platform": platforms}
    ).encode()
    header = struct.pack("<8sQQ", b"RKNN", version, len(data)) + (b"" if version & 0xFFF == 1 else bytes(40))
    return header + data + struct.pack("<Q", len(described)) + described


def printed(tmp_path, capsys, data: bytes) -> list[str]:
    (tmp_path / "any.rknn").write_bytes(data)
    inspect_rknn.main([str(tmp_path / "any.rknn")])
    return capsys.readouterr().out.splitlines()


def test_a_model_for_the_board(tmp_path, capsys):
    boxes = ("boxes", (1, 64, 8, 12), (1, 4, 8, 12, 16), "int8", 0.125, 12)
    cpu = ("cpu", (1, 5, 4, 4), (1, 5, 4, 4), "int8", 0.5, 0)
    assert printed(tmp_path, capsys, rknn([IMAGE], [boxes, SCORES, cpu])) == [
        "toolkit   1.6.0+81f21f4d; the board's runtime must not be older",
        "platform  rv1106",
        "input     images [1, 3, 64, 96] int8, NHWC [1, 64, 96, 3]",
        "          pixels 0 to 255, less 0, divided by 255",
        "output 0  boxes [1, 64, 8, 12] int8, NC1HWC2 [1, 4, 8, 12, 16]",
        "          scale 0.125, zero point 12: -17.5 to 14.38",
        "output 1  scores [1, 20, 8, 12] int8, NC1HWC2 [1, 2, 8, 12, 16], the last 12 channels are padding",
        "          scale 0.00400000019, zero point -128: 0 to 1.02",
        "output 2  cpu [1, 5, 4, 4] int8, NCHW",
        "          scale 0.5, zero point 0: -64 to 63.5",
    ]


def test_outputs_of_any_rank_and_type(tmp_path, capsys):
    embedding = ("embedding", (1, 128), (1, 128), "int8", 0.0813, 9)
    rows = ("rows", (1, 16800, 4), (1, 16800, 4), "int8", 1.95, -125)
    real = ("real", (1, 7, 7), (1, 7, 7), "float16", 1.0, 0)
    told = printed(tmp_path, capsys, rknn([IMAGE], [embedding, rows, real], platforms=("rv1103", "rv1106")))
    assert told[1] == "platform  rv1103 rv1106"
    assert told[4:] == [
        "output 0  embedding [1, 128] int8, rank 2, as its shape is",
        "          scale 0.0812999979, zero point 9: -11.14 to 9.593",
        "output 1  rows [1, 16800, 4] int8, rank 3, as its shape is",
        "          scale 1.95000005, zero point -125: -5.85 to 491.4",
        "output 2  real [1, 7, 7] float16, rank 3, as its shape is",
    ]


@pytest.mark.parametrize(("version", "sections"), [(1, False), (0x1001, False), (2, True), (0x1004, False), (6, True)])
def test_containers_old_and_new(tmp_path, capsys, version, sections):
    told = printed(tmp_path, capsys, rknn([IMAGE], [SCORES], version, sections=sections))
    assert told == printed(tmp_path, capsys, rknn([IMAGE], [SCORES]))


def test_several_inputs_are_listed_and_one_is_demanded_elsewhere(tmp_path, capsys):
    told = printed(tmp_path, capsys, rknn([IMAGE, ("more", *IMAGE[1:])], [SCORES]))
    assert [line for line in told if line.startswith("input")] == [
        "input     images [1, 3, 64, 96] int8, NHWC [1, 64, 96, 3]",
        "input     more [1, 3, 64, 96] int8, NHWC [1, 64, 96, 3]",
    ]
    with pytest.raises(UserError, match=r"is not a \.rknn as toolkit"):
        read_rknn(tmp_path / "any.rknn")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"CYPTRKNN" + bytes(100), "is encrypted; its contents cannot be read"),
        (b"VPMN" + bytes(100), "is made by the first rknn-toolkit"),
        (b"", "is not a .rknn that can be read"),
        (b"ONNX" * 50, "the file does not begin with RKNN"),
        (rknn([IMAGE], [SCORES])[:300], "is not a .rknn that can be read"),
        (rknn([IMAGE], [SCORES]).replace(b"norm_tensor", b"some_tensor"), "KeyError"),
        (
            rknn([IMAGE], [SCORES], platforms=("rk3588",)).replace(b"norm_tensor", b"some_tensor"),
            r"is for rk3588 \(toolkit 1\.6\.0\+81f21f4d\), so no RV1103 or RV1106 can run it",
        ),
    ],
)
def test_what_is_none_is_one_sentence(tmp_path, data, said):
    (tmp_path / "any.rknn").write_bytes(data)
    with pytest.raises(UserError, match=said):
        inspect_rknn.main([str(tmp_path / "any.rknn")])


def test_damage_anywhere_is_one_sentence(tmp_path):
    """Bytes changed at random places: it is read, or one sentence says that it is not."""
    rng, data = np.random.default_rng(0), rknn([IMAGE], [SCORES])
    for _ in range(300):
        wrong = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            wrong[place] = rng.integers(0, 256)
        (tmp_path / "any.rknn").write_bytes(wrong[: rng.integers(1, len(wrong) + 1)] if rng.random() < 0.3 else wrong)
        try:
            inspect_rknn.main([str(tmp_path / "any.rknn")])
        except UserError:
            continue
