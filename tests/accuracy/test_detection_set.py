"""Files of detections hold what there is: those of boxes alone stay as they were before tasks had extras."""

import hashlib
import zipfile

import numpy as np
import pytest

from lib.accuracy.detection_set import DetectionSet, read_detections, write_detections
from lib.detector.instances import Instances, concatenate
from lib.step.arrays import write_arrays
from lib.step.errors import UserError


def detections(extras=lambda rng, n: {}, **options) -> DetectionSet:
    """Three, none and two detections in three images, from a seed."""
    rng = np.random.default_rng(5)
    instances = [
        Instances(rng.uniform(0, 90, (n, 4)), np.sort(rng.random(n))[::-1], rng.integers(0, 80, n), extras(rng, n))
        for n in (3, 0, 2)
    ]
    return DetectionSet(["a.jpg", "b ü.jpg", "c.png"], [(90, 70), (70, 90), (640, 480)], instances, **options)


def keypoints(rng, n):
    return {"keypoints": rng.random((n, 17, 3)).astype(np.float32), "angle": np.arange(n)}


def test_boxes_alone_are_the_files_of_before(tmp_path):
    write_detections(tmp_path / "d.npz", detections())
    digest = hashlib.sha256()
    with zipfile.ZipFile(tmp_path / "d.npz") as file:
        for member in file.infolist():
            digest.update(member.filename.encode() + file.read(member))
    # Of what revision b5b834c wrote.
    assert digest.hexdigest() == "4f91f831095c31394029d200ad6096b4d39fed97f63f091c560cc2c1e9e2c003"


def test_extras_and_task_come_back(tmp_path):
    written = detections(keypoints, task="pose")
    write_detections(tmp_path / "d.npz", written)
    back = read_detections(tmp_path / "d.npz")
    assert back.task == "pose" and back.count() == 5
    for instances, expected in zip(back.instances, written.instances, strict=True):
        assert list(instances.extras) == ["keypoints", "angle"]
        for name, values in expected.extras.items():
            np.testing.assert_array_equal(instances.extras[name], values)


def test_extras_of_too_few_rows_are_damage(tmp_path):
    joined = concatenate(detections().instances)
    write_arrays(
        tmp_path / "d.npz",
        images=np.array(["a.jpg"]),
        sizes=np.array([[90, 70]]),
        counts=np.array([5]),
        boxes=joined.boxes,
        scores=joined.scores,
        classes=joined.classes,
        **{"extras.angle": np.zeros(4)},
    )
    with pytest.raises(UserError, match="is damaged"):
        read_detections(tmp_path / "d.npz")


def test_rows_take_their_extras_along():
    instances = concatenate(detections(keypoints).instances)
    for rows in (slice(1, 3), [4, 0], instances.scores > 0.5):
        chosen = instances[rows]
        np.testing.assert_array_equal(chosen.extras["keypoints"], instances.extras["keypoints"][rows])
        assert len(chosen) == len(chosen.extras["angle"])
    with pytest.raises(ValueError, match="as many scores, classes and extras"):
        Instances(instances.boxes, instances.scores, instances.classes, {"angle": np.zeros(4)})


def texts(rng, n):
    return {"mask": np.array([b"x" * int(length) for length in rng.integers(0, 9, n)], dtype=object)}


def test_bytes_of_any_length_come_back(tmp_path):
    written = detections(texts, task="segment")
    write_detections(tmp_path / "d.npz", written)
    read = read_detections(tmp_path / "d.npz")
    assert [list(each.extras["mask"]) for each in read.instances] == [
        list(each.extras["mask"]) for each in written.instances
    ]
    with np.load(tmp_path / "d.npz") as file:
        arrays = dict(file)
    write_arrays(tmp_path / "d.npz", **arrays | {"extras.mask": arrays["extras.mask"][1:]})
    with pytest.raises(UserError, match=r"d\.npz is damaged \(its tables do not fit together\)"):
        read_detections(tmp_path / "d.npz")
