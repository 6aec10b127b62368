"""Nothing unchecked gets in: checksums, zips, labels; and the split is what it says."""

import http.server
import threading
import zipfile

import pytest

from lib.data import split
from lib.data.archives import unpack
from lib.data.download import fetch
from lib.data.image_paths import image_paths
from lib.data.images import damage
from lib.graph import onnx_file
from lib.npu.rknn_file import read_contents
from lib.step.errors import UserError
from lib.step.files import sha256


@pytest.fixture
def server(tmp_path):
    """A web server over tmp_path/web on this machine; yields (folder, address)."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.path == "/broken":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"only a part")
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_sources_are_tried_in_order_until_one_has_the_checksum(server, tmp_path):
    folder, address = server
    (folder / "wrong").write_bytes(b"wrong")
    (folder / "right").write_bytes(b"right")
    checksum = sha256(folder / "right")
    sources = [f"{address}/none", f"{address}/broken", f"{address}/wrong", str(tmp_path / "no"), f"{address}/right"]
    assert fetch(sources, tmp_path / "out" / "file", checksum, "key") == sources[-1]
    assert (tmp_path / "out" / "file").read_bytes() == b"right"
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_pointer_of_git_lfs_is_called_so_wherever_a_file_is_read(server, tmp_path):
    folder, address = server
    pointer = folder / "best.onnx"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12851047\n")
    said = "a Git LFS pointer, not the file; run `git lfs pull` in its repository, or download the file itself"
    for source in (f"{address}/best.onnx", str(pointer)):
        with pytest.raises(UserError, match=f"best.onnx: it is {said}"):
            fetch([source], tmp_path / "out", None, "key")
    for read in (onnx_file.load, read_contents, lambda path: unpack(path, tmp_path / "out")):
        with pytest.raises(UserError, match=f"{pointer} is {said}$"):
            read(pointer)
    assert damage(pointer) == "a Git LFS pointer, not an image (`git lfs pull` fetches it)"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("best.onnx", b"PK\x03\x04", "a checkpoint of PyTorch or another zip"),
        ("best.onnx", b"\x18\x00\x00\x00TFL3", "a TFLite model"),
        ("best.onnx", b"7767517\n", "a model of ncnn"),
        ("best.onnx", b"<!DOCTYPE html>", "a web page"),
        ("best.engine", b"", "a TensorRT engine"),
        ("best_ncnn_model", None, "a folder"),
    ],
)
def test_a_model_of_another_kind_is_called_so(tmp_path, name, content, kind):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is {kind}, not an ONNX model; export the model to ONNX, or name its"):
        onnx_file.load(path)
    path = tmp_path / "best.rknn"
    path.write_bytes(b"RKNN")
    with pytest.raises(UserError, match=f"best.rknn is a .rknn, not an ONNX model; to see .*inspect_rknn.py {path}$"):
        onnx_file.load(path)


def test_all_sources_failing_is_one_message_with_every_reason(server, tmp_path):
    folder, address = server
    (folder / "wrong").write_bytes(b"wrong")
    with pytest.raises(UserError) as error:
        fetch(
            [f"{address}/none", f"{address}/broken", f"{address}/wrong", "no/such.pt"],
            tmp_path / "w.pt",
            "ab" * 32,
            "k.w",
        )
    text = str(error.value)
    for reason in ("404", "broke off", sha256(folder / "wrong"), "No such file", "config under k.w"):
        assert reason in text
    assert not (tmp_path / "w.pt").exists()


def test_weights_without_checksum_are_refused_and_the_local_file_is_hashed(step, tmp_path):
    (tmp_path / "mine.pt").write_bytes(b"x")
    done = step("download_weights", "--weights", tmp_path / "mine.pt", "--output", tmp_path / "o.pt")
    assert done.returncode == 2
    assert sha256(tmp_path / "mine.pt") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o.pt").exists()


def test_wrong_checksum_stops_export_before_the_checkpoint_is_loaded(step, tmp_path):
    # Unpickling this would raise something else than the message about the checksum.
    (tmp_path / "evil.pt").write_bytes(b"\x80\x04cos\nsystem\n")
    done = step("export_onnx", "--weights", tmp_path / "evil.pt", "--sha256", "0" * 64, "--imgsz", "64",
                "--opset", "19", "--output", tmp_path / "o.onnx")  # fmt: skip
    assert done.returncode == 2
    assert "is not loaded" in done.stderr
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize("member", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg", "C:\\evil.jpg"])
def test_zip_member_that_leaves_the_folder_is_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("fine.txt", "")
        file.writestr(member, "")
    with pytest.raises(UserError, match="would be written outside the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zip_with_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("images")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc")
    with pytest.raises(UserError, match="would be written outside the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_damaged_zip_is_one_sentence(tmp_path, damage):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", "text " * 100)
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[:50] + b"\xff\xff" + whole[52:] if damage is None else damage)
    with pytest.raises(UserError, match="not a readable zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_dataset_is_gathered_flat_and_background_counts(step, dataset, tmp_path):
    (dataset / "labels" / "train" / "lost.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    out = tmp_path / "ds"
    done = step("fetch_dataset", "--archive", dataset, "--names", "a", "b", "c", "d", "--output", out)
    assert done.returncode == 0, done.stderr
    assert "10 images (1 background), 9 boxes" in done.stdout
    assert "lost.txt" in done.stdout
    assert [path.name for path in image_paths(out / "images")] == [f"{n:02}.jpg" for n in range(10)]
    assert (out / "labels" / "00.txt").read_text() == ""


def test_broken_label_leaves_no_dataset(step, dataset, tmp_path):
    (dataset / "labels" / "train" / "05.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    done = step("fetch_dataset", "--archive", dataset, "--names", "a", "b", "--output", tmp_path / "ds")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert list((tmp_path / "ds").iterdir()) == []


def test_split_is_seeded_and_disjoint():
    images = [f"{n:03}.jpg" for n in range(100)]
    parts = split.split(images, 30, seed=1)
    assert parts == split.split(list(reversed(images)), 30, seed=1)
    assert parts != split.split(images, 30, seed=2)
    assert list(parts) == images
    assert list(parts.values()).count(split.CALIBRATION) == 30
    for calibration in (0, 100, 101):
        with pytest.raises(UserError, match="of 100 images"):
            split.split(images, calibration, seed=1)


def test_samples_are_nested_and_too_many_is_an_error(step, dataset, tmp_path):
    run = lambda count: step(  # noqa: E731
        "sample_calibration", "--pool", dataset / "images" / "train", "--max-images", count, "--seed", "3",
        "--output", tmp_path / "sample" / f"{count}.txt",
    )  # fmt: skip
    for count in (4, 10):
        assert run(count).returncode == 0
    small, large = ((tmp_path / "sample" / f"{n}.txt").read_text().splitlines()[1:] for n in (4, 10))
    assert small == large[:4]
    assert len(set(large)) == 10
    assert all((tmp_path / "sample" / line).is_file() for line in large)
    done = run(11)
    assert done.returncode == 2
    assert "asks for 11" in done.stderr and "has 10" in done.stderr
    assert not (tmp_path / "sample" / "11.txt").exists()


def test_image_that_cannot_be_decoded_is_named(step, dataset, tmp_path):
    flat = tmp_path / "flat"
    (flat / "images").mkdir(parents=True)
    (flat / "images" / "07.jpg").write_bytes(b"no jpeg")
    split.write_split(tmp_path / "split.csv", {"07.jpg": split.CALIBRATION})
    done = step("letterbox_pool", "--dataset", flat, "--split", tmp_path / "split.csv", "--imgsz", "64",
                "--output", tmp_path / "pool")  # fmt: skip
    assert done.returncode == 2
    assert "07.jpg cannot be decoded" in done.stderr
    assert not (tmp_path / "pool").exists()


def test_an_empty_checksum_file_is_one_sentence(tmp_path, step):
    (tmp_path / "mine.pt").write_bytes(b"PK")
    (tmp_path / "mine.pt.sha256").touch()
    done = step("export_onnx", "--weights", tmp_path / "mine.pt", "--imgsz", "64", "--opset", "19", "--output",
                tmp_path / "x.onnx")  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "mine.pt.sha256 is empty" in done.stderr and not (tmp_path / "x.onnx").exists()


def test_an_opset_that_nothing_exports_is_refused_before_the_export(tmp_path, step):
    done = step("export_onnx", "--weights", tmp_path, "--imgsz", "64", "--opset", "99", "--output", tmp_path / "x.onnx")
    assert done.returncode == 2 and "argument --opset: 99 is above 20" in done.stderr


def test_a_checkpoint_that_is_no_such_detector_is_told_by_its_head(tmp_path, step):
    import torch
    from ultralytics.nn.tasks import WorldModel

    path = tmp_path / "other.pt"
    torch.save({"model": WorldModel("yolov8s-worldv2.yaml", verbose=False).half(), "train_args": {}}, path)
    done = step("export_onnx", "--weights", path, "--sha256", sha256(path), "--imgsz", "64", "--opset", "19",
                "--output", tmp_path / "x.onnx", "--log", tmp_path / "log")  # fmt: skip
    assert done.returncode == 2 and f"{path} ends in WorldDetect" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "x.onnx").exists()
