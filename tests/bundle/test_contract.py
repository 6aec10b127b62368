"""model.json is written and read as one dataclass; missing, unknown and invalid keys are reported by name."""

import copy
import json

import numpy as np
import pytest
from random_models import KINDS, random_case

from lib.bundle.contract import CONTRACT, Contract
from lib.detector.families.anchors import Anchors
from lib.detector.families.dfl import Dfl
from lib.detector.head import SINGLE, SPLIT
from lib.step.errors import UserError


def written(seed: int) -> dict:
    return random_case(seed).contract("m").to_json()


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_a_contract_is_the_same_after_writing_and_reading(tmp_path, seed):
    case = random_case(seed)
    contract = case.contract("m")
    contract.write(tmp_path / CONTRACT)
    again = Contract.of_bundle(tmp_path)
    again.write(tmp_path / "again.json")
    assert (tmp_path / CONTRACT).read_bytes() == (tmp_path / "again.json").read_bytes()
    assert again.tensors() == case.tensors and again.output_spec() == case.spec


KEYS = [
    *("variant", "family", "end2end", "platform", "toolkit", "input", "outputs", "classes", "thresholds"),
    *("metadata", "decode", "accuracy", "verdict", "proof", "files"),
]
OUTPUT_KEYS = [
    *("index", "name", "shape", "layout", "native_shape", "padding_channels", "bytes", "dtype", "scale", "zero_point"),
    *("strides", "channels"),
]


def test_keys_and_their_order():
    contract = written(KINDS.index((Anchors, SPLIT)))
    assert list(contract) == KEYS
    assert list(contract["outputs"][0]) == [*OUTPUT_KEYS, "anchors", "scale_x_y", "new_coords"]
    assert list(contract["outputs"][1]) == OUTPUT_KEYS


def test_outputs_have_roles():
    assert random_case(KINDS.index((Anchors, SPLIT))).contract("m").roles()[:3] == ("box", "objectness", "scores")
    assert random_case(KINDS.index((Dfl, SPLIT))).contract("m").roles() == ("box", "scores") * 3
    assert random_case(KINDS.index((Dfl, SINGLE))).contract("m").roles() == ("predictions",)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("variant", "head"), 1, "variant: head is 1, not text"),
        (("variant", "max_images"), "8", 'variant: max_images is "8", not a whole number'),
        (("family",), "yolonot", "there is no family 'yolonot'; the families are "),
        (("metadata",), {"rv1106.darknet": "[1]"}, "the outputs cannot be decoded: rv1106.darknet"),
        (("metadata",), {"rv1106.darknet": "["}, "the outputs cannot be decoded: "),
        (("metadata",), {}, "the outputs cannot be decoded: "),
        (("end2end",), 0, "end2end is 0, not true or false"),
        (("input", "width"), 320.5, "input.width is 320.5, not a whole number"),
        (("input", "shape"), [1, 2, 3], "input.shape is [1, 2, 3], not a list of 4"),
        (("input", "letterbox"), None, "input.letterbox is null, not an object"),
        (("outputs",), [], "0 outputs, but the head and family have "),
        (("outputs", 0, "scale"), "0.1", 'outputs[0].scale is "0.1", not a number'),
        (("outputs", 0, "native_shape", 4), None, "outputs[0].native_shape[4] is null, not a whole number"),
        (("classes",), "person", 'classes is "person", not a list'),
        (("thresholds", "iou"), "none", "thresholds.iou is"),
        (("accuracy", "note"), "", "accuracy holds note, which is not known"),
        (("files",), ["decode.h"], "files is"),
    ],
)
def test_a_wrong_value_is_reported_with_file_and_key(tmp_path, keys, value, said):
    contract = written(KINDS.index((Anchors, SPLIT)))
    part = contract
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (tmp_path / CONTRACT).write_text(json.dumps(contract))
    with pytest.raises(UserError) as error:
        Contract.of_bundle(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / CONTRACT}: {said}"), error.value


def test_a_missing_key_is_reported(tmp_path):
    for key in KEYS:
        contract = written(0)
        del contract[key]
        (tmp_path / CONTRACT).write_text(json.dumps(contract))
        with pytest.raises(UserError, match=f"lacks {key}; "):
            Contract.of_bundle(tmp_path)


@pytest.mark.parametrize("foreign", ["[]", "{}", "null", '"text"', "{", '{"model": "yolov8n", "anchors": []}'])
def test_another_kind_of_file_gives_one_message(tmp_path, foreign):
    (tmp_path / CONTRACT).write_text(foreign)
    with pytest.raises(UserError, match=rf"^{tmp_path / CONTRACT}\b[^\n]+$"):
        Contract.of_bundle(tmp_path)


def test_random_damage_gives_only_messages():
    """Parts are replaced by random values; the only error is UserError."""
    rng = np.random.default_rng(0)
    values = (None, True, -1, 0, 10**30, 1.5, float("nan"), "", "x", [], {}, [[]], {"a": 1}, ["a"])
    refused = 0
    for seed in range(600):
        contract = copy.deepcopy(written(seed % len(KINDS)))
        part, inside = contract, True
        while inside:
            key = rng.choice(list(part)) if isinstance(part, dict) else int(rng.integers(len(part)))
            inside = bool(part[key]) and isinstance(part[key], dict | list) and rng.random() < 0.8
            part, parent = part[key], part
        parent[key] = values[rng.integers(len(values))]
        try:
            Contract.from_json(contract, CONTRACT)
        except UserError:
            refused += 1
    assert refused > 300
