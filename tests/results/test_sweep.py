"""The variants of a sweep, and those that were built in a run before it."""

from argparse import Namespace

import pytest

from lib.results.sweep import Variant, asked, built
from lib.step.errors import UserError

SWEEP = {"model": ["a"], "imgsz": [320], "head": ["split"], "algorithm": ["normal"], "max_images": [8]}


def test_a_variant_is_read_from_its_path():
    variant = Variant("yolo-a.b", "416x256", "split", "kl_divergence", 16)
    assert Variant.from_path(str(variant.path())) == variant
    with pytest.raises(UserError, match="a/320/split is not a variant; write MODEL/IMGSZ/HEAD/"):
        Variant.from_path("a/320/split")


def test_variants_beside_the_sweep_are_sorted_in_and_none_is_there_twice():
    swept = {key: list(map(str, values)) for key, values in SWEEP.items()} | {"max_images": [8]}
    args = Namespace(**swept, also=["a/96/split/normal-8", "a/320/split/normal-8", "a/320/single/normal-8"])
    assert [str(variant.path()) for variant in asked(args)] == [
        "a/96/split/normal-8", "a/320/single/normal-8", "a/320/split/normal-8"
    ]  # fmt: skip


def test_what_was_built_before_is_known_by_its_verdict_and_metrics(tmp_path):
    def leave(path, metrics=True):
        (tmp_path / "rknn" / path).mkdir(parents=True)
        (tmp_path / "rknn" / path / "verdict.json").write_text("{}")
        if metrics:
            (tmp_path / "metrics" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "metrics" / f"{path}.json").write_text("{}")

    assert built(tmp_path, SWEEP, ["a"]) == []
    for path in ("a/320/split/normal-8", "a/320/single/normal-8", "a/96/split/mmse-4", "gone/320/split/normal-8"):
        leave(path)
    leave("a/640/split/normal-8", metrics=False)
    assert [str(variant.path()) for variant in built(tmp_path, SWEEP, ["a"])] == [
        "a/96/split/mmse-4", "a/320/single/normal-8"
    ]  # fmt: skip
