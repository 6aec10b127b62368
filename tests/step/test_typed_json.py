"""A dataclass goes to JSON and back; what is missing, unknown or of another type is named by file and key."""

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from lib.step.errors import UserError
from lib.step.files import write_json
from lib.step.typed_json import JsonRecord, from_json, omitted_if_none, to_json


@dataclass(frozen=True)
class Wheel:
    size: float
    spokes: int | None


@dataclass(frozen=True)
class Bell:
    """Has a form of its own in JSON."""

    tone: str

    def to_json(self) -> list:
        return list(self.tone)

    @classmethod
    def from_json(cls, value, where):
        if not value:
            raise UserError(f"{where} is silent")
        return cls("".join(value))


@dataclass(frozen=True)
class Lamp(JsonRecord):
    watts: int

    def __post_init__(self):
        if self.watts < 1:
            raise ValueError(f"{self.watts} W give no light")


@dataclass(frozen=True)
class Bicycle(JsonRecord):
    name: str
    kind: Literal["road", "cargo"]
    sold: bool
    wheels: tuple[Wheel, ...]
    size: tuple[int, float]
    parts: dict[str, list[int]]
    bell: Bell
    lamp: Lamp | None = None
    owner: str | int = "nobody"
    note: str | None = omitted_if_none()
    tags: list[str] = field(default_factory=list)


SOUND = {
    "name": "a", "kind": "cargo", "sold": False,
    "wheels": [{"size": 20, "spokes": 36}, {"size": 26.5, "spokes": None}], "size": [3, 4],
    "parts": {"x": [1, 2], "y": []}, "bell": ["h", "i"], "lamp": {"watts": 3}, "owner": 7, "tags": ["t"],
}  # fmt: skip


def test_a_record_is_the_same_after_a_file(tmp_path):
    write_json(tmp_path / "in.json", SOUND)
    record = Bicycle.read(tmp_path / "in.json")
    assert record == Bicycle("a", "cargo", False, (Wheel(20, 36), Wheel(26.5, None)), (3, 4), {"x": [1, 2], "y": []},
                             Bell("hi"), Lamp(3), 7, None, ["t"])  # fmt: skip
    record.write(tmp_path / "out.json")
    # Byte for byte: keys in their order, 20 and not 20.0, no key for a note that is not there.
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "in.json").read_bytes()
    assert from_json(Bicycle, to_json(record), "here") == record
    assert from_json(dict[str, Wheel], to_json({"w": Wheel(1, 2)}), "here") == {"w": Wheel(1, 2)}


def test_what_has_a_default_may_be_missing():
    short = {key: value for key, value in SOUND.items() if key not in ("lamp", "owner", "tags")}
    record = Bicycle.from_json(short, "here")
    assert (record.lamp, record.owner, record.note, record.tags) == (None, "nobody", None, [])
    assert record.to_json() == SOUND | {"lamp": None, "owner": "nobody", "tags": []}
    assert Bicycle.from_json(short | {"note": "n"}, "here").to_json()["note"] == "n"


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda d: d.pop("kind") and d.pop("name"), "bike.json lacks name, kind"),
        (lambda d: d["wheels"][1].pop("size"), "bike.json: wheels[1] lacks size"),
        (lambda d: d.update(colour="red"), "bike.json holds colour, which is not known"),
        (lambda d: d["lamp"].update(colour="red"), "bike.json: lamp holds colour, which is not known"),
        (lambda d: d.update(name=3), "bike.json: name is 3, not text"),
        (lambda d: d.update(kind="boat"), 'bike.json: kind is "boat", not one of road, cargo'),
        (lambda d: d.update(sold=0), "bike.json: sold is 0, not true or false"),
        (lambda d: d["wheels"][0].update(size="big"), 'bike.json: wheels[0].size is "big", not a number'),
        (lambda d: d["wheels"][0].update(size=True), "bike.json: wheels[0].size is true, not a number"),
        (lambda d: d["wheels"][0].update(spokes=1.5), "bike.json: wheels[0].spokes is 1.5, not a whole number"),
        (lambda d: d.update(wheels={}), "bike.json: wheels is {}, not a list"),
        (lambda d: d.update(wheels=[[]]), "bike.json: wheels[0] is [], not an object"),
        (lambda d: d.update(size=[1]), "bike.json: size is [1], not a list of 2"),
        (lambda d: d["parts"].update(y=None), "bike.json: parts.y is null, not a list"),
        (lambda d: d.update(parts=[1]), "bike.json: parts is [1], not an object"),
        (lambda d: d.update(owner=None), "bike.json: owner is null, not a whole number"),
        (lambda d: d.update(bell=""), "bike.json: bell is silent"),
        (lambda d: d["lamp"].update(watts=0), "bike.json: lamp: 0 W give no light"),
        (lambda d: d.update(name=list(range(99))), "…, not text"),
    ],
)
def test_a_damaged_record_is_one_sentence_with_file_and_key(change, sentence):
    damaged = json.loads(json.dumps(SOUND))
    change(damaged)
    with pytest.raises(UserError) as error:
        Bicycle.from_json(damaged, "bike.json")
    assert sentence in str(error.value) and len(str(error.value)) < 200


def test_a_file_that_is_no_object_is_one_sentence(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(UserError, match=r"a.json is \[1\], not an object; delete it and run"):
        Bicycle.read(tmp_path / "a.json")
