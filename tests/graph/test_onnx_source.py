"""Exported ONNX files as a model's source: fetched, told apart by their sizes, taken as they are."""

import pickle
import zipfile

import onnx
import pytest
from onnx import TensorProto, helper

from lib.data.imgsz import ImageSize
from lib.data.input_form import InputForm
from lib.data.weights_folder import exports, is_downloaded, settings_of
from lib.graph.input_convention import settle_input_form
from lib.graph.input_form import input_form_of
from lib.graph.onnx_source import by_size, of_size
from lib.results.config_problems import export_problems
from lib.step.errors import UserError
from lib.step.files import sha256
from lib.step.workflow import options


def network(path, *shape):
    """A network of one Relu, saved; its path."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "out")]
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["out"])], "g", *([tensor] for tensor in tensors))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def files(tmp_path):
    """Exports of 96x64 and of 64."""
    return [network(tmp_path / "a.onnx", 1, 3, 64, 96), network(tmp_path / "b.onnx", 1, 3, 64, 64)]


def test_files_are_told_apart_by_the_size_they_take(files, tmp_path):
    sizes = by_size(files)
    assert sizes == {"96x64": files[0], "64": files[1]}
    assert of_size(sizes, ImageSize(64, 64), "theirs") == files[1]
    with pytest.raises(UserError, match=r"models\.theirs\.onnx has no export of size 320; there is 96x64, 64:"):
        of_size(sizes, ImageSize(320, 320), "theirs")
    dynamic = network(tmp_path / "d.onnx", 1, 3, "height", "width")
    assert of_size(by_size([*files, dynamic]), ImageSize(320, 320), "theirs") == dynamic
    assert by_size([network(tmp_path / "last.onnx", 1, 64, 96, 3)]).keys() == {"96x64"}


def test_files_that_are_no_source_are_one_sentence(files, tmp_path):
    with pytest.raises(UserError, match="are both of size 64"):
        by_size([files[1], network(tmp_path / "c.onnx", 1, 3, 64, 64)])
    with pytest.raises(UserError, match="one image"):
        by_size([network(tmp_path / "vector.onnx", 1, 3)])


def test_exports_are_fetched_under_their_sizes(step, files, tmp_path):
    folder = tmp_path / "weights" / "theirs"
    done = step("download_weights", "--onnx", *files, "--input.channels", "bgr", "--input.mean", "1", "2", "3",
                "--input.scale", "1", "--output", folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert {size: path.name for size, path in exports(folder).items()} == {
        "64": "theirs-64.onnx", "96x64": "theirs-96x64.onnx",
    }  # fmt: skip
    assert settings_of(folder).input == {"channels": "bgr", "scale": 1, "mean": [1.0, 2.0, 3.0]}
    assert is_downloaded(folder)
    again = step("download_weights", "--onnx", files[0], "--sha256", sha256(files[0]), "--output", folder)
    assert again.returncode == 0 and exports(folder).keys() == {"96x64"} and settings_of(folder).input == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sha256", "0" * 64, "0" * 64], "not the 0000"),
        (["--sha256", "0" * 64], "1 checksums are given for 2 files"),
        (["--cfg", "x.cfg"], "--cfg belongs to Darknet"),
        (["--input.mean", "1", "2"], "mean of an input has 2 values"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(step, files, tmp_path, arguments, words):
    done = step("download_weights", "--onnx", *files, *arguments, "--output", tmp_path / "theirs")
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "theirs").exists()


def test_two_files_of_one_size_are_named_as_the_user_names_them(step, files, tmp_path):
    done = step("download_weights", "--onnx", files[0], files[0], "--output", tmp_path / "theirs")
    assert done.returncode == 2 and f"{files[0]} and {files[0]} are both of size 96x64" in done.stderr


def test_an_export_is_taken_as_it_is_without_torch(exported, step, tmp_path):
    path, model = exported
    for name, arguments in (("plain", []), ("bgr", ["--input.channels", "bgr", "--input.fill", "0"])):
        assert step("download_weights", "--onnx", path, *arguments, "--output", tmp_path / name).returncode == 0
        done = step("export_onnx", "--weights", tmp_path / name, "--imgsz", "96x64", "--opset", "11", "--output",
                    tmp_path / f"{name}.onnx")  # fmt: skip
        assert done.returncode == 0, done.stderr
    plain, bgr = (onnx.load(tmp_path / f"{name}.onnx") for name in ("plain", "bgr"))
    assert plain.graph == model.graph and input_form_of(plain) == InputForm()
    assert input_form_of(bgr) == InputForm(channels="bgr", fill=0)
    assert "BGR, pixels 0 to 1, letterboxed in the middle, on 0 (channels, fill as given" in done.stdout
    refused = step("export_onnx", "--weights", tmp_path / "plain", "--imgsz", "320", "--opset", "11", "--output",
                   tmp_path / "o.onnx")  # fmt: skip
    assert refused.returncode == 2 and "has no export of size 320; there is 96x64" in refused.stderr


def test_the_form_of_an_input_must_have_the_models_channels(tmp_path):
    grey = onnx.load(network(tmp_path / "g.onnx", 1, 1, 64, 64))
    assert settle_input_form(grey, {})[0] == InputForm(channels="grey")
    with pytest.raises(UserError, match="the model takes 1 channels, but an input in bgr has 3"):
        settle_input_form(grey, {"channels": "bgr"})


def test_a_size_that_no_file_has_is_said_before_anything_runs(files):
    config = {
        "sweep": {"model": ["theirs"], "imgsz": [64, "96x64"]},
        "models": {"theirs": {"onnx": [*map(str, files)]}},
    }
    assert export_problems(config) == []
    config["sweep"]["imgsz"].append(320)
    [problem] = export_problems(config)
    assert "has no export of size 320; there is 96x64, 64" in problem
    config["models"]["theirs"]["onnx"].append("https://example.org/c.onnx")
    assert export_problems(config) == []


def test_a_block_within_a_block_is_an_option_as_dvc_writes_it():
    block = {"onnx": ["a", "b"], "sha256": None, "input": {"scale": 1, "mean": [1, 2.5], "channels": "bgr"}}
    expected = ["--onnx", "a", "b", "--input.scale", "1", "--input.mean", "1", "2.5", "--input.channels", "bgr"]
    assert options(block) == expected


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("layer", "repository"), [(b"C3", "YOLOv5"), (b"SPPCSPC", "YOLOv7")])
def test_a_checkpoint_of_another_repository_is_told_apart_without_running_it(step, tmp_path, zipped, layer, repository):
    pickled = b"cmodels.yolo\nModel\n" + b"cmodels.common\n" + layer + b"\n" + pickle.dumps({"model": 1})
    checkpoint = tmp_path / "best.pt"
    if zipped:
        with zipfile.ZipFile(checkpoint, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
    else:
        checkpoint.write_bytes(pickled)
    done = step("export_onnx", "--weights", checkpoint, "--sha256", sha256(checkpoint), "--imgsz", "64", "--opset",
                "19", "--output", tmp_path / "o.onnx")  # fmt: skip
    [line] = done.stderr.strip().splitlines()
    assert done.returncode == 2 and f"a checkpoint of the {repository} repository" in line and "export.py" in line
