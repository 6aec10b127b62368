"""Models that want other channels, ranges and places of the image: FP32, calibration and simulator give them that."""

import cv2
import numpy as np
import onnx
import pytest
from conftest import image
from onnx import numpy_helper

from lib.accuracy.channels import better_channels
from lib.accuracy.detection_set import read_detections
from lib.accuracy.metrics import Metrics
from lib.accuracy.resampled_map import ResampledMap
from lib.data.calibration import calibration_in_form
from lib.data.calibration_list import calibration_list
from lib.data.images import read_fitted, read_image
from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.letterbox import letterbox
from lib.graph.input_convention import is_from_elsewhere
from lib.graph.input_form import set_input_form
from lib.graph.onnx_file import save
from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.pipeline import adapt
from lib.npu import toolkit
from lib.npu.rknn_file import read_rknn
from lib.step.errors import UserError

SIZE = ImageSize(96, 64)
BGR = InputForm(channels="bgr", scale=1, mean=(10, 20, 30), std=(100, 200, 300))
GREY = InputForm(channels="grey", letterbox="stretch")


def variant(model: onnx.ModelProto, form: InputForm) -> onnx.ModelProto:
    """A model that predicts what `model` does, given images in `form`: its first convolution is another."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    [given] = changed.graph.input
    conv = next(node for node in changed.graph.node if given.name in node.input)
    weight, bias = (next(t for t in changed.graph.initializer if t.name == name) for name in conv.input[1:3])
    values, offset = (numpy_helper.to_array(tensor) for tensor in (weight, bias))
    if form.channels == "grey":
        values = values.sum(axis=1, keepdims=True)
        given.type.tensor_type.shape.dim[1].dim_value = 1
    else:
        # pixel / 255 = what the network is given * std / 255 + mean / 255; borders, padded with 0, differ by the mean.
        mean, std = (np.array(each, np.float32).reshape(1, 3, 1, 1) / 255 for each in (form.pixel_mean, form.pixel_std))
        values = values[:, ::-1]
        offset = offset + (values * mean).sum(axis=(1, 2, 3))
        values = values * std
    for tensor, content in ((weight, values), (bias, offset)):
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(content, np.float32), tensor.name))
    del changed.graph.value_info[:]
    set_input_form(changed, form)
    return changed


@pytest.fixture(scope="module")
def source(exported, pool):
    """The calibration images before they were letterboxed, under the pool's names, and the list of the pool."""
    folder = pool.parent / "originals"
    folder.mkdir(exist_ok=True)
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed}.jpg"), image(seed)[:, :, ::-1])
    listed = pool.parent / "listed.txt"
    listed.write_text(calibration_list([f"{pool.name}/{path.name}" for path in sorted(pool.iterdir())]))
    return folder, listed


def test_calibration_images_are_in_the_models_form(source):
    folder, listed = source
    for form in (BGR, GREY):
        with calibration_in_form(listed, folder, SIZE, form) as paths:
            assert [path.name for path in paths] == [f"{seed}.png" for seed in range(8)]
            for path in paths:
                expected, _ = letterbox(read_image(folder / f"{path.stem}.jpg"), SIZE, form)
                np.testing.assert_array_equal(read_fitted(path, form.depth), expected)
            assert cv2.imread(str(paths[0]), cv2.IMREAD_UNCHANGED).ndim == (2 if form is GREY else 3)
        assert not paths[0].exists()
    with calibration_in_form(listed, folder, SIZE, InputForm(scale=1)) as paths:
        assert paths[0].parent != folder and paths[0].exists()
    assert paths[0].exists(), "the pool's own"


def test_a_calibration_image_without_its_original_is_one_sentence(source, tmp_path):
    with pytest.raises(UserError, match="has no image 0"), calibration_in_form(source[1], tmp_path, SIZE, BGR):
        pass


def test_fp32_detections_are_those_of_the_model_in_rgb(exported, step, heldout, tmp_path):
    detections = []
    for name, form in (("rgb", InputForm()), ("bgr", InputForm(channels="bgr", scale=1))):
        save(variant(exported[1], form) if form != InputForm() else exported[1], tmp_path / f"{name}.onnx")
        done = step("detect", "--onnx", tmp_path / f"{name}.onnx", "--dataset", heldout, "--names", *"abcd",
                    "--detections", tmp_path / f"{name}.npz")  # fmt: skip
        assert done.returncode == 0, done.stderr
        detections.append(read_detections(tmp_path / f"{name}.npz").instances)
    for rgb, bgr in zip(*detections):
        assert len(rgb) == len(bgr) > 0
        np.testing.assert_allclose(bgr.boxes, rgb.boxes, atol=1e-2)
        np.testing.assert_allclose(bgr.scores, rgb.scores, atol=1e-4)


@pytest.mark.toolkit
@pytest.mark.parametrize("form", [BGR, GREY])
def test_int8_is_like_fp32_and_the_rknn_normalizes(exported, source, tmp_path, form):
    folder, listed = source
    adapted, _ = adapt(variant(exported[1], form), "split", [letterbox(image(0), SIZE, form)[0]], seed=0)
    save(adapted, tmp_path / "split.onnx")
    fitted, _ = letterbox(image(9), SIZE, form)
    with (
        calibration_in_form(listed, folder, SIZE, form) as paths,
        toolkit.quantized(tmp_path / "split.onnx", paths, "rv1106", "normal", form) as session,
    ):
        session.export(tmp_path / "model.rknn")
        int8 = session.simulate()(fitted)
    fp32 = infer_image(open_session(tmp_path / "split.onnx"), fitted)
    for expected, found in zip(fp32, int8, strict=True):
        a, b = expected.ravel(), found.ravel()
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.98
    built = read_rknn(tmp_path / "model.rknn")
    assert built.input.shape == (1, form.depth, 64, 96)
    assert (built.mean, built.std) == (form.pixel_mean, form.pixel_std)


def measured(value: float, spread: float) -> tuple[Metrics, ResampledMap]:
    resampled = value + np.linspace(-spread, spread, 101)
    metrics = Metrics(3, value, value, value - spread, value + spread, {})
    return metrics, ResampledMap(["a", "b", "c"], 0, value, resampled)


@pytest.mark.parametrize(
    ("other", "said"), [(0.3, "RGB is right"), (0.5, "WARNING: BGR is better than RGB"), (0.401, None)]
)
def test_the_better_order_of_channels_is_said_where_it_is_no_noise(other, said):
    asked = []

    def measure_in(form):
        asked.append(form)
        return measured(other, -0.01)

    line = better_channels(InputForm(), measured(0.4, 0.01), measure_in)
    assert asked == [InputForm(channels="bgr")]
    assert (line or "").startswith(said or "") and bool(line) == bool(said)
    assert better_channels(GREY, measured(0.4, 0.01), measure_in) is None and len(asked) == 1


def test_neither_order_is_called_right_where_both_detect_nothing():
    line = better_channels(InputForm(channels="bgr", scale=1), measured(0.0067, 1e-4), lambda _: measured(8e-4, 1e-5))
    assert line.startswith(
        "WARNING: neither BGR nor RGB detects what the labels show: FP32 mAP50-95 0.0067, in RGB 0.0008"
    )
    assert "(channels, scale, mean and std)" in line


def test_who_made_an_export_tells_whether_its_channels_are_open(exported):
    assert not is_from_elsewhere(exported[1])
    assert is_from_elsewhere(variant(exported[1], BGR))
    stranger = onnx.ModelProto()
    stranger.CopyFrom(exported[1])
    del stranger.metadata_props[:]
    assert is_from_elsewhere(stranger)
