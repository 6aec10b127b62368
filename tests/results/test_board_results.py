"""board.json is one of two things, and a damaged one is one sentence."""

import json

import pytest

from lib.results.board_results import RefusedByBoard, read_board_results
from lib.step.errors import UserError

REFUSED = RefusedByBoard("refused", "unsupport cpu Min op", "runs", "wrong", "0" * 64, "2.3.2")


def test_a_refusal_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "board.json"
    REFUSED.write(path)
    assert read_board_results(path) == REFUSED
    assert REFUSED.outcome == "unsupport cpu Min op"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"words": 3}, "words is 3, not text"),
        ({"result": "maybe"}, "lacks runtime, driver, init_ms"),
        ({"more": 1}, "holds more, which is not known"),
    ],
)
def test_what_is_no_board_json_is_named_by_file_and_key(tmp_path, change, sentence):
    path = tmp_path / "board.json"
    path.write_text(json.dumps(REFUSED.to_json() | change))
    with pytest.raises(UserError, match=sentence) as caught:
        read_board_results(path)
    assert str(path) in str(caught.value)
