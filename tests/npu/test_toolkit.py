"""The real rknn-toolkit2 on a small model: calibrate, compile, simulate; its failures become one sentence."""

import contextlib

import numpy as np
import pytest
from conftest import picture

from lib.data.imgsz import ImageSize
from lib.data.letterbox import letterbox
from lib.detector.head import SINGLE, SPLIT, decode
from lib.graph.onnx_file import save
from lib.graph.onnx_session import infer, open_session, to_tensor
from lib.graph.surgery import adapt
from lib.npu import toolkit
from lib.npu.rknn_file import dequantize, quantize, read_rknn
from lib.step.errors import ToolkitError, UserError

pytestmark = pytest.mark.toolkit
SIZE = ImageSize(96, 64)


def test_calibration_writes_its_files_and_nothing_else(calibrated):
    assert {path.name for path in calibrated[1].iterdir()} == {*toolkit.CALIBRATED, toolkit.METADATA}
    assert {path.name for path in calibrated[1].parent.iterdir()} == {"split.onnx", "calibrated"}


def test_simulator_is_int8_of_the_same_network(calibrated, tmp_path):
    session = open_session(calibrated[0])
    with toolkit.built(calibrated[1], "rv1106", "normal") as rknn:
        toolkit.export(rknn, tmp_path / "model.rknn")
        run = toolkit.simulate(rknn)
        for seed in range(3):
            fitted = letterbox(picture(seed), SIZE)[0]
            expected, found = infer(session, to_tensor(fitted)), run(fitted)
            assert [each.shape for each in found] == [each.shape for each in expected]
            for exact, rounded in zip(expected, found):
                # Close, yet not equal: an FP32 run passed off as INT8 would be.
                assert np.abs(exact - rounded).max() > 0
                assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.98
                # One scale a tensor: at most 256 values.
                assert len(np.unique(rounded)) <= 256
            assert decode(found, SPLIT, SIZE).shape == (126, 8)
    assert (tmp_path / "model.rknn").read_bytes()[:4] == b"RKNN"


def test_toolkit_failure_is_one_sentence_that_names_the_log(step, tmp_path, pool):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (pool.parent / "list.txt").write_text("".join(f"{pool.name}/{path.name}\n" for path in sorted(pool.iterdir())))
    done = step("calibrate", "--model", tmp_path / "broken.onnx", "--images", pool.parent / "list.txt",
                "--platform", "rv1106", "--algorithm", "normal", "--output", tmp_path / "out",
                "--log", tmp_path / "c.log")  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "rknn-toolkit2" in done.stderr and "c.log" in done.stderr
    assert not (tmp_path / "out").exists()
    assert "rknn-toolkit2 version" in (tmp_path / "c.log").read_text()


def test_damaged_calibration_is_a_toolkit_error(calibrated, tmp_path):
    for name in toolkit.CALIBRATED:
        (tmp_path / name).write_bytes((calibrated[1] / name).read_bytes()[:100])
    with pytest.raises(ToolkitError, match="the build from"), toolkit.built(tmp_path, "rv1106", "normal"):
        pass


@pytest.mark.parametrize("head", [SINGLE, SPLIT])
def test_rknn_file_tells_how_the_simulator_quantizes(exported, pool, tmp_path, head):
    onnx, _ = adapt(exported[1], head, [picture(0, 96, 64)], seed=0)
    save(onnx, tmp_path / "model.onnx")
    toolkit.calibrate(tmp_path / "model.onnx", sorted(pool.iterdir()), "rv1106", "normal", tmp_path / "calibrated")
    with toolkit.built(tmp_path / "calibrated", "rv1106", "normal") as rknn:
        toolkit.export(rknn, tmp_path / "model.rknn")
        outputs = toolkit.simulate(rknn)(letterbox(picture(0), SIZE)[0])
    told = read_rknn(tmp_path / "model.rknn")
    assert (told.mean, told.std, told.toolkit, told.platform) == ((0,) * 3, (255,) * 3, toolkit.version(), "rv1106")
    assert told.input[:4] == ("images", (1, 3, 64, 96), (1, 1, 64, 96, 3), "int8")
    assert [each.name for each in told.outputs] == [each.name for each in onnx.graph.output]
    for tensor, output in zip(told.outputs, outputs, strict=True):
        batch, channels, height, width = output.shape
        assert tensor.shape == output.shape
        assert tensor.native_shape == (batch, -(-channels // 16), height, width, 16)
        assert tensor.dtype == "int8"
        stored = quantize(output, tensor)
        assert len(np.unique(stored)) > 1
        np.testing.assert_array_equal(dequantize(stored, tensor), output)
        for wrong in (tensor._replace(scale=tensor.scale * 1.001), tensor._replace(zero_point=tensor.zero_point + 100)):
            with pytest.raises(UserError, match=f"output '{tensor.name}' is not INT8 with"):
                quantize(output, wrong)


def test_damaged_rknn_is_one_sentence(calibrated, tmp_path):
    with toolkit.built(calibrated[1], "rv1106", "normal") as rknn:
        toolkit.export(rknn, tmp_path / "model.rknn")
    data = (tmp_path / "model.rknn").read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"RKNN", b"PK" + data[2:], data[:70], data[: len(data) // 2], data[:-1], data[:2000] + data[3000:]]
    for number, each in enumerate(damaged):
        path = tmp_path / f"{number}.rknn"
        path.write_bytes(each)
        with pytest.raises(UserError, match=f"{number}.rknn is no .rknn as toolkit"):
            read_rknn(path)
    # Bytes flipped anywhere in the graph: read, or refused, and never anything else.
    for _ in range(300):
        noisy = bytearray(data)
        for position in rng.integers(len(data) - 80_000, len(data), 8):
            noisy[position] = rng.integers(256)
        (tmp_path / "noisy.rknn").write_bytes(noisy)
        with contextlib.suppress(UserError):
            read_rknn(tmp_path / "noisy.rknn")
