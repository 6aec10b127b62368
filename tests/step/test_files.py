"""No half-written output is ever left, and the old file stays until the new one is complete."""

import errno
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from lib.step.arrays import read_arrays, write_arrays
from lib.step.errors import UserError
from lib.step.files import read_json, sha256, whole, write_json


def test_file_appears_only_when_all_went_well(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(target) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with whole(target) as part:
        part.write_text("new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "d"
    target.mkdir()
    (target / "old").touch()
    with whole(target) as part:
        part.mkdir()
        (part / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_leftover_of_a_killed_process_is_cleared_and_a_living_one_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.txt.{dead.pid}.part").touch()
    living = tmp_path / f".a.txt.{os.getppid()}.part"
    living.touch()
    with whole(tmp_path / "a.txt") as part:
        part.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", living.name}


def test_a_folder_that_nobody_may_write_to_is_one_sentence_and_a_closed_input_is_no_such_folder(tmp_path):
    target = tmp_path / "a.txt"
    said = r"a.txt is not written: Read-only file system; name another folder"
    with pytest.raises(UserError, match=said), whole(target) as part:
        raise OSError(errno.EROFS, "Read-only file system", str(part))
    with pytest.raises(PermissionError), whole(target):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/input")


def test_json_round_trip_and_damage(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1.5})
    assert read_json(tmp_path / "a.json") == {"b": 1.5}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="missing"):
        read_json(tmp_path / "none.json")


def test_sha256_of_the_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    # FIPS 180-4, the hash of no bytes.
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_arrays_with_a_bit_flipped_anywhere_are_the_same_or_damaged(tmp_path):
    path, flipped = tmp_path / "a.npz", tmp_path / "b.npz"
    values = np.arange(3, dtype=np.float32)
    write_arrays(path, values=values)
    content = path.read_bytes()
    for byte, bit in itertools.product(range(len(content)), (0, 7)):
        changed = bytearray(content)
        changed[byte] ^= 1 << bit
        flipped.write_bytes(changed)
        try:
            assert np.array_equal(read_arrays(flipped, "numbers", ("values",))["values"], values)
        except UserError as error:
            assert str(error).startswith(f"{flipped} is damaged (")


def test_an_array_without_a_name_is_one_sentence(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"it is a \.npy file, one array without a name"):
        read_arrays(tmp_path / "a.npy", "numbers", ("values",))
