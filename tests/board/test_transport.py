"""The output of ssh and adb is read to its end, within limits for time and size."""

import pytest

from lib.board import transport
from lib.board.transport import Unreachable, _call


def test_output_errors_and_exit_code_are_returned(tmp_path):
    (tmp_path / "in").write_bytes(b"in\0" * 100_000)
    done = _call(["sh", "-c", "cat; echo words >&2; exit 3"], 20, "board", tmp_path / "in")
    assert done == (3, b"in\0" * 100_000, "words\n")


@pytest.mark.parametrize("stream", [1, 2])
def test_endless_output_is_cut_off(monkeypatch, stream):
    monkeypatch.setattr(transport, "MOST", 4 << 20)
    with pytest.raises(Unreachable, match=r"^board sent more than 4 MiB in answer to one command and was cut off"):
        _call(["sh", "-c", f"yes >&{stream}", "command"], 60, "board")


@pytest.mark.parametrize("command", ["exec sleep 60", "exec >&- 2>&-; exec sleep 60"])
def test_a_timeout_is_reported(command):
    with pytest.raises(Unreachable, match=r"^board did not answer within 1 s"):
        _call(["sh", "-c", command], 1, "board")
