"""metrics/….json: its keys in their order, and one sentence with file and key for what is none."""

import json

import pytest

from lib.accuracy.metrics import ClassMetrics, ComparedMetrics, Metrics
from lib.step.errors import UserError

FILE = {
    "images": 3, "map50_95": 0.25, "map50": 0.5, "map50_95_low": 0.125, "map50_95_high": None,
    "per_class": {"bolt": {"map50_95": 0.25, "map50": 0.5, "boxes": 7}},
    "retention": 0.75, "retention_low": None, "retention_high": 1.0,
}  # fmt: skip


def test_a_file_is_read_and_written_as_it_was(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(FILE, indent=2) + "\n")
    metrics = ComparedMetrics.read(path)
    assert metrics.per_class == {"bolt": ClassMetrics(0.25, 0.5, 7)} and metrics.retention == 0.75
    metrics.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"map50": "much"}, 'map50 is "much", not a number'),
        ({"images": 2.5}, "images is 2.5, not a whole number"),
        ({"per_class": {"bolt": {"map50_95": 0.25, "map50": 0.5}}}, "per_class.bolt lacks boxes"),
        ({"map": 0.5}, "holds map, which is not known"),
    ],
)
def test_what_is_none_is_told_by_file_and_key(tmp_path, change, fault):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(FILE | change))
    with pytest.raises(UserError) as error:
        ComparedMetrics.read(path)
    assert str(path) in str(error.value) and fault in str(error.value)


def test_the_map_by_boxes_stands_beside_that_of_another_task(tmp_path):
    assert Metrics(3, 0.25, 0.5, 0.125, None, {}).to_json() == dict(list(FILE.items())[:6]) | {"per_class": {}}
    of_task = Metrics(3, 0.25, 0.5, 0.125, None, {}, task="segment", box_map50_95=0.5)
    of_task.write(tmp_path / "m.json")
    assert Metrics.read(tmp_path / "m.json") == of_task
    assert of_task.to_json()["box_map50_95"] == 0.5


def test_metrics_without_a_baseline_retain_nothing(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(dict(list(FILE.items())[:6])))
    assert Metrics.read(path).images == 3
    with pytest.raises(UserError, match="lacks retention, retention_low, retention_high"):
        ComparedMetrics.read(path)
