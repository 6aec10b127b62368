"""Published models by their names: address and checksum come from config/published.yaml, and nothing else changes."""

import json
import re

import pytest
import yaml
from conftest import ROOT

from lib.data.opening import Place, opened
from lib.data.published import published, with_published


def test_what_is_listed_is_pinned_and_of_the_makers_own_releases():
    known = published()
    for name, block in known["models"].items():
        assert re.fullmatch(r"yolo(v8|11|26)[ns](-(seg|pose|obb))?", name)
        [address] = block["weights"]
        release = "v8.4.0" if name.startswith("yolo26") else "v8.3.0"
        assert address == f"https://github.com/ultralytics/assets/releases/download/{release}/{name}.pt"
    sums = [block["sha256"] for kind in known.values() for block in kind.values()]
    assert len(set(sums)) == len(sums) > 15 and all(re.fullmatch("[0-9a-f]{64}", each) for each in sums)


@pytest.mark.parametrize("block", [{}, None])
def test_a_name_alone_is_the_published_model(block):
    mine = {"weights": ["best.pt"], "sha256": "0" * 64}
    models = with_published({"models": {"yolo26n": block, "mine": mine, "yolov8n": {"onnx": ["a.onnx"]}}})["models"]
    assert models == {"yolo26n": published()["models"]["yolo26n"], "mine": mine, "yolov8n": {"onnx": ["a.onnx"]}}


def test_a_data_set_from_a_published_address_gets_its_checksum_unless_it_has_one():
    known = published()["datasets"]["coco128"]
    default = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert with_published(default)["dataset"] == default["dataset"] | {"sha256": known["sha256"]}
    for dataset in (
        {"archive": known["archive"], "sha256": "0" * 64},
        {"archive": ["mine.zip", *known["archive"]]},
        {"yaml": "data.yaml"},
    ):
        assert with_published({"models": {}, "dataset": dataset})["dataset"] == dataset


def test_an_unknown_name_is_one_sentence_with_those_that_are_known(step, tmp_path):
    done = step("download_weights", "--output", tmp_path / "yolo12n")
    assert done.returncode == 2
    assert "published models need neither: yolov8n, yolov8s, " in done.stderr


def test_images_may_come_from_an_address_of_their_own_beside_an_archive_of_annotations(tmp_path):
    """As COCO publishes them: one zip of annotations, one of images, each with its checksum."""
    annotations, images = tmp_path / "annotations_trainval", tmp_path / "val"
    (annotations / "annotations").mkdir(parents=True)
    images.mkdir()
    (images / "1.jpg").write_bytes(b"")
    coco = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 8, "height": 8}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
    }
    (annotations / "annotations" / "instances_val.json").write_text(json.dumps(coco))
    block = yaml.safe_load((ROOT / "config" / "coco_val2017.yaml").read_text())["dataset"]
    folders = {block["archive"][0]: (annotations, block["sha256"]), block["images"]: (images, block["images_sha256"])}
    block |= {"coco": "annotations/instances_val.json"}

    def unpack(sources, checksum, config_key):
        folder, wanted = folders.pop(sources[0])
        assert checksum == wanted
        return folder

    source = opened(Place.of(block, ("cat",), "dataset"), unpack)
    assert folders == {} and [item.image for item in source.items] == [images / "1.jpg"]
