"""Archives of data sets: zip and tar are read alike, others are called by their kind, unread images by their suffix."""

import io
import tarfile
import zipfile

import pytest
from conftest import image

from lib.data.archives import unpack
from lib.data.images import write_image
from lib.data.preview import looked_at
from lib.results.overlay import Model, data_of
from lib.step.errors import UserError

LINE = "0 0.5 0.5 0.4 0.3\n"
OTHERS = [
    ("a.7z", b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive"),
    ("a.rar", b"Rar!\x1a\x07\x01\x00", "a rar archive"),
    ("a.tar.zst", b"\x28\xb5\x2f\xfd\x00\x00", "compressed by zstd"),
]


def tarred(folder, path):
    """A tar of a folder, compressed as its suffix says, with the leading `./` that `tar -C FOLDER .` writes."""
    kind = path.suffix[1:] if path.suffix != ".tar" else ""
    with tarfile.open(path, f"w:{kind}") as file:
        file.add(folder, ".")
    return path


@pytest.fixture
def small(tmp_path):
    """Ten images with a box each, in Ultralytics' layout with a data.yaml."""
    root = tmp_path / "small"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for number in range(10):
        write_image(root / f"images/{number}.png", image(number, 64, 48))
        (root / f"labels/{number}.txt").write_text(LINE)
    (root / "data.yaml").write_text("train: images\nnames: [bolt]\n")
    return root


@pytest.fixture
def config():
    """A function: a config for a look at a data set."""
    rest = {"split": {"calibration": 4, "seed": 0}, "evaluation": {"images": "heldout", "part": "val"}}
    return lambda **dataset: {"dataset": dataset, "task": "detect"} | rest


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
@pytest.mark.parametrize("key", ["archive", "yaml"])
def test_a_tar_is_read_as_a_zip(step, config, small, tmp_path, name, key):
    archive = tarred(small, tmp_path / name)
    assert data_of(str(archive), None, Model("m", {})).names == ("bolt",)
    given = [str(archive)] if key == "archive" else str(archive)
    names = {"names": ["bolt"]} if key == "archive" else {}
    assert looked_at(config(**{key: given}, **names)).names == ("bolt",)
    options = ("--names", "bolt") if names else ()
    done = step("fetch_dataset", f"--{key}", archive, *options, "--output", tmp_path / "ds")
    assert done.returncode == 0 and "10 images (0 background), 10 boxes" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../evil.jpg", tarfile.REGTYPE), ("/etc/evil.jpg", tarfile.REGTYPE), ("images", tarfile.SYMTYPE),
     ("a.jpg", tarfile.LNKTYPE), ("b.jpg", tarfile.CHRTYPE), (".", tarfile.REGTYPE)],
)  # fmt: skip
def test_a_tar_that_would_write_elsewhere_is_refused(tmp_path, name, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(tarfile.TarInfo("fine.txt"))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        file.addfile(member)
    with pytest.raises(UserError, match="would be written outside the folder"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tar_bomb_is_refused_before_anything_is_written(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("images/a.jpg")
        member.size = 20_000_000
        file.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(UserError, match=r"20 MB, \d+ times its size"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9])
def test_a_truncated_tar_is_one_sentence(small, tmp_path, name, kept):
    archive = tarred(small, tmp_path / name)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * kept)])
    with pytest.raises(UserError, match=f"{name} is (not a readable zip or tar|compressed by .* and no whole tar)"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(("name", "content", "kind"), OTHERS)
def test_other_archives_are_called_by_their_kind(step, config, tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content + bytes(1000))
    sentence = f"{name} is {kind}, which is not read: unpack it and name its folder, or pack it as zip"
    path = str(tmp_path / name)
    for dataset in ({"archive": [path]}, {"yaml": path}, {"coco": path}, {"voc": path}, {"images": path}):
        with pytest.raises(UserError, match=sentence):
            looked_at(config(**dataset, names=["a"]))
    with pytest.raises(UserError, match=sentence):
        data_of(path, None, Model("m", {}))
    done = step("fetch_dataset", "--archive", path, "--names", "a", "--output", tmp_path / "ds")
    assert done.returncode == 2 and sentence in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_zip_with_backslashes_has_folders(step, small, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted(small.rglob("*.*")):
            member = zipfile.ZipInfo()
            member.filename = str(path.relative_to(small)).replace("/", "\\")
            file.writestr(member, path.read_bytes())
    done = step("fetch_dataset", "--yaml", tmp_path / "a.zip", "--output", tmp_path / "ds")
    assert done.returncode == 0 and "10 images (0 background), 10 boxes" in done.stdout, done.stderr


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("key", ["archive", "yaml", "images"])
def test_images_that_are_not_read_are_named_and_counted(step, small, tmp_path, packed, key):
    for name in ("x.bmp", "y.HEIC", "z.tif"):
        (small / f"images/{name}").write_bytes(bytes(1000))
    place = tarred(small, tmp_path / "a.tar") if packed else small
    options = () if key == "yaml" else ("--names", "bolt")
    done = step("fetch_dataset", f"--{key}", place, *options, "--output", tmp_path / "ds")
    assert done.returncode == 0, done.stderr
    assert "WARNING: 3 files are not jpg, png or webp and are left out: x.bmp, y.HEIC, z.tif" in done.stdout


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("key", ["archive", "yaml", "images"])
def test_a_set_without_any_image_that_is_read_says_what_it_has(step, small, tmp_path, packed, key):
    for path in (small / "images").iterdir():
        path.rename(path.with_suffix(".bmp"))
    place = tarred(small, tmp_path / "a.tar") if packed else small
    options = () if key == "yaml" else ("--names", "bolt")
    done = step("fetch_dataset", f"--{key}", place, *options, "--output", tmp_path / "ds")
    assert done.returncode == 2 and not list((tmp_path / "ds").iterdir())
    assert "there are 10 .bmp files, which are not read: save them as jpg or png" in done.stderr


def test_a_list_or_a_json_of_images_that_are_not_read_says_so(step, small, tmp_path):
    for path in (small / "images").iterdir():
        path.rename(path.with_suffix(".bmp"))
    (small / "train.txt").write_text("".join(f"images/{number}.bmp\n" for number in range(10)))
    (small / "data.yaml").write_text("train: train.txt\nnames: [bolt]\n")
    done = step("fetch_dataset", "--yaml", small, "--output", tmp_path / "ds")
    assert "it lists 0.bmp, 1.bmp, 2.bmp, 3.bmp, 4.bmp and 5 more, which are not read" in done.stderr
    text = '{"images": [{"id": 1, "file_name": "1.bmp"}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}'
    (small / "instances.json").write_text(text)
    done = step("fetch_dataset", "--coco", small, "--output", tmp_path / "ds")
    assert done.returncode == 2 and "there are 10 .bmp files, which are not read" in done.stderr
