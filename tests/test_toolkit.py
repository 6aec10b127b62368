"""The real rknn-toolkit2 on a small model: calibrate, compile, simulate; its failures become one sentence."""

import cv2
import numpy as np
import pytest
from conftest import picture

from lib import toolkit
from lib.errors import ToolkitError
from lib.head import SPLIT, decode
from lib.imgsz import ImageSize
from lib.letterbox import letterbox
from lib.onnx_file import save
from lib.onnx_session import infer, open_session, to_tensor
from lib.surgery import adapt

pytestmark = pytest.mark.toolkit
SIZE = ImageSize(96, 64)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Eight letterboxed pictures as PNG; the folder's name holds a blank, which the toolkit's lists do not allow."""
    folder = tmp_path_factory.mktemp("letterboxed pool")
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed}.png"), letterbox(picture(seed), SIZE)[0][:, :, ::-1])
    return folder


@pytest.fixture(scope="module")
def calibrated(exported, pool, tmp_path_factory):
    """The split head of the small detector, calibrated; (ONNX, folder)."""
    folder = tmp_path_factory.mktemp("quantized")
    save(adapt(exported[1], SPLIT), folder / "split.onnx")
    toolkit.calibrate(folder / "split.onnx", sorted(pool.iterdir()), "rv1106", "normal", folder / "calibrated")
    return folder / "split.onnx", folder / "calibrated"


def test_calibration_writes_three_files_and_nothing_else(calibrated):
    assert sorted(path.name for path in calibrated[1].iterdir()) == sorted(toolkit.CALIBRATED)
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
