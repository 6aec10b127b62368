"""Labels in formats that are not read are called by their name, and the refusal says what to export instead."""

import json
import zipfile

import pytest
from conftest import image

from lib import tasks
from lib.data.formats.registry import FORMATS
from lib.data.formats.source import Hints
from lib.data.images import write_image
from lib.data.preview import looked_at
from lib.results.overlay import Model, data_of
from lib.step.errors import UserError

BOX = {"left": 1, "top": 2, "width": 30, "height": 20}
LABELME = {"version": "5", "flags": {}, "shapes": [], "imagePath": "a.png", "imageData": None}
VIA = {"a.png123": {"filename": "a.png", "size": 123, "regions": []}}
VOTT = {"name": "x", "tags": [], "assets": {"0": {"asset": {"name": "a.png"}, "regions": [{"boundingBox": BOX}]}}}
CVAT = """<?xml version="1.0"?><annotations><version>1.1</version><meta/>
<image id="0" name="a.png"><box label="x" xtl="1" ytl="1" xbr="2" ybr="2"/></image></annotations>"""
HRSC = "<HRSC_Image><Img_ID>1</Img_ID><HRSC_Objects><HRSC_Object/></HRSC_Objects></HRSC_Image>"
VOC = """<annotation><object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
</object></annotation>"""
LABELME_XML = "<annotation><object><name>x</name><polygon><pt><x>1</x><y>1</y></pt></polygon></object></annotation>"
KITTI = "Car 0.00 0 -1.57 10.0 10.0 40.0 30.0 1.5 1.6 3.9 1.0 1.5 9.0 -1.6\n"
WIDER = "0--Parade/0_Parade_1_849.jpg\n1\n449 330 122 149 0 0 0 0 0 0 \n"
TRACKLETS = """<?xml version="1.0"?><!DOCTYPE boost_serialization>
<boost_serialization signature="serialization::archive" version="9">
<tracklets class_id="0" version="0"><count>0</count></tracklets></boost_serialization>"""
MPII = [{"joints_vis": [1], "joints": [[1, 2]], "image": "a.png", "scale": 1.0, "center": [1, 2]}]
CASES = [
    ("a.json", json.dumps(LABELME), "labelme's JSON: convert it to COCO"),
    ("via.json", json.dumps(VIA), "VIA's JSON: export from VIA as COCO"),
    ("via_project.json", json.dumps({"_via_img_metadata": VIA}), "VIA's JSON: export from VIA as COCO"),
    ("x-export.json", json.dumps(VOTT), "VoTT's JSON: export from VoTT as Pascal VOC"),
    ("0a-asset.json", json.dumps(VOTT["assets"]["0"]), "VoTT's JSON: export from VoTT as Pascal VOC"),
    ("_annotations.createml.json", json.dumps([{"image": "a.png", "annotations": []}]), "Create ML's JSON"),
    ("tasks.json", json.dumps([{"id": 1, "annotations": [], "data": {}}]), "Label Studio's JSON"),
    ("annotations.xml", CVAT, 'CVAT\'s own XML: export from CVAT as "Ultralytics YOLO Detection 1.0" or "COCO 1.0"'),
    ("Annotations/1.xml", HRSC, "HRSC2016's XML: convert it to DOTA's layout"),
    ("Annotations/2.xml", LABELME_XML, "LabelMe's XML with polygons: convert it to COCO"),
    ("annotations/a.txt", "684,8,273,116,0,0,0,0\n", "a list of boxes between commas (VisDrone, MOT): convert it"),
    ("gt/gt.txt", "1,-1,0.0,4.0,4.0,8.0,1,3,1.0\n", "a list of boxes between commas (VisDrone, MOT): convert it"),
    ("label_2/a.txt", KITTI, "KITTI's labels: convert them to COCO or to Ultralytics' layout"),
    ("wider_face_split/wider_face_train_bbx_gt.txt", WIDER, "WIDER FACE's list of boxes: convert it to COCO or to"),
    ("wider_face_split/wider_face_val.mat", "\0", "WIDER FACE's list of boxes: convert it to COCO or to"),
    ("gt/gt_img_1.txt", "\ufeff377,117,463,117,465,130,378,130,Genaxis, Theatre\n", "ICDAR's quadrilaterals with a"),
    ("gt/gt_img_2.txt", "377,117,463,117,465,130,378,130,2015\n", "convert them to DOTA's layout (dataset.dota)"),
    ("gt/gt_3.txt", '38, 43, 920, 215, "Tiredness"\n', "ICDAR's quadrilaterals with a transcription"),
    ("gt/tr_img_4.txt", "1,1,9,1,9,9,1,9,Latin,word\n", "ICDAR's quadrilaterals with a transcription"),
    ("mpii_human_pose_v1_u12_1.mat", "\0", "MPII's joints: convert them to COCO's keypoints"),
    ("annot/train.json", json.dumps(MPII), "MPII's joints: convert them to COCO's keypoints"),
    ("tracklet_labels.xml", TRACKLETS, "KITTI's tracklets, boxes in space: project them into the images"),
    ("train.tfrecord", "\0" * 9, "TFRecord files: export the set as YOLO or COCO"),
    (
        "_annotations.csv",
        "filename,width,height\n",
        "a CSV file: if its rows are boxes, export the set as YOLO or COCO",
    ),
]


@pytest.fixture(params=["folder", "zip"])
def placed(request, tmp_path):
    """A function: a folder or a zip of an image and a file of labels."""

    def put(name, text):
        root = tmp_path / "set"
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
        write_image(root / "a.png", image(0, 64, 48))
        if request.param == "folder":
            return root
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                file.write(path, path.relative_to(root))
        return tmp_path / "set.zip"

    return put


@pytest.mark.parametrize(("name", "text", "sentence"), CASES, ids=[name for name, *_ in CASES])
def test_start_calls_a_format_that_is_not_read_by_its_name(placed, name, text, sentence):
    with pytest.raises(UserError) as told:
        data_of(str(placed(name, text)), None, Model("m", {}, names=("x",)))
    assert sentence in str(told.value) and "\n" not in str(told.value)
    assert name.rpartition("/")[2] in str(told.value)


@pytest.mark.parametrize(("name", "text", "sentence"), CASES, ids=[name for name, *_ in CASES])
@pytest.mark.parametrize("key", ["archive", "yaml", "coco", "dota", "obj_data"])
def test_so_does_a_format_that_was_named_in_the_config(placed, name, text, sentence, key):
    place = str(placed(name, text))
    given = {key: [place] if key == "archive" else place, "names": ["x"]}
    rest = {"split": {"calibration": 1, "seed": 0}, "evaluation": {"part": "val"}, "task": "detect"}
    with pytest.raises(UserError) as told:
        looked_at({"dataset": given, **rest})
    assert sentence in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [(name, text, sentence) for name, text, sentence in CASES if name.endswith(("json", "xml"))]
    + [("a.xml", VOC, "a.xml is Pascal VOC's XML: name it with dataset: {voc: FOLDER}")],
)
def test_images_whose_labels_are_of_another_format_are_not_background(step, tmp_path, name, text, sentence):
    root = tmp_path / "set"
    for folder in (root / "images", (root / "labels" / name).parent):
        folder.mkdir(parents=True)
    write_image(root / "images/a.png", image(0, 64, 48))
    (root / "labels" / name).write_text(text)
    done = step("fetch_dataset", "--archive", root, "--names", "x", "--output", tmp_path / "ds")
    assert done.returncode == 2 and not list((tmp_path / "ds").iterdir())
    assert "has a label with a box" in done.stderr and sentence in done.stderr


@pytest.mark.parametrize("task", sorted({*tasks.names()} - {"classify"}))
@pytest.mark.parametrize("score", ["", " 0.9"])
def test_kittis_lines_in_another_layout_are_called_by_their_name(tmp_path, task, score):
    (tmp_path / "a.txt").write_text(KITTI.strip() + score)
    with pytest.raises(UserError, match=r"a\.txt, line 1 .* is one of KITTI's labels: convert them"):
        tasks.get(task).check_label(tmp_path / "a.txt", 2)


@pytest.mark.parametrize(
    ("text", "sentence"), [(HRSC, "HRSC2016's XML"), (CVAT, "CVAT's own XML"), (LABELME_XML, "LabelMe's")]
)
def test_an_xml_among_those_of_voc_is_called_by_its_name(tmp_path, text, sentence):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(text)
    with pytest.raises(UserError, match=f"a.xml is not Pascal VOC's XML but {sentence}"):
        FORMATS["voc"].read(tmp_path, Hints())


def test_files_that_are_damaged_or_of_no_known_format_add_nothing(tmp_path):
    for name, content in (("a.json", "{"), ("b.json", "[]"), ("c.xml", "<a>"), ("d.xml", "<a/>"), ("e.txt", "x")):
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"contains no COCO JSON$"):
        FORMATS["coco"].find(tmp_path, Hints())
