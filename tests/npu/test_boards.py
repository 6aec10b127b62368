"""A board's name stands for its chip, memory and clock; what is written beside it or over it wins."""

import pytest
import yaml
from conftest import ROOT

from lib.npu.boards import BOARDS, Board, board_problem, with_board

DEFAULTS = {"platform": "rv1106", "verdict": {"stop": False, "cma_mb": 66, "clock_mhz": 420}}
PICO = {"board_model": "luckfox-pico"}


@pytest.mark.parametrize(
    ("layers", "command_line", "expected"),
    [
        ([], {}, Board("rv1106", 66, 420)),
        ([PICO], {}, Board("rv1103", 24, 420)),
        ([PICO | {"verdict": {"cma_mb": 30}}], {}, Board("rv1103", 30, 420)),
        ([{"verdict": {"cma_mb": 30}}, PICO], {}, Board("rv1103", 24, 420)),
        ([PICO, {"verdict": {"cma_mb": 66}}], {}, Board("rv1103", 66, 420)),
        ([PICO], {"verdict": {"clock_mhz": 700}}, Board("rv1103", 24, 700)),
        ([PICO], {"board_model": "luckfox-pico-zero"}, Board("rv1106", 100, 700)),
        ([PICO, {"board_model": "luckfox-pico-max"}], {}, Board("rv1106", 66, 420)),
        ([{"board_model": "nothing"}], {}, Board("rv1106", 66, 420)),
    ],
)
def test_a_board_sets_what_nothing_over_it_says(layers, command_line, expected):
    merged = {**DEFAULTS, "verdict": dict(DEFAULTS["verdict"])}
    for layer in (*layers, command_line):
        merged |= {key: value for key, value in layer.items() if key != "verdict"}
        merged["verdict"] |= layer.get("verdict", {})
    config = with_board(merged, [DEFAULTS, *layers])
    assert (config["platform"], config["verdict"]["cma_mb"], config["verdict"]["clock_mhz"]) == expected
    assert config["verdict"]["stop"] is False


def test_the_schema_and_the_docs_have_the_boards():
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())["properties"]
    assert schema["board_model"]["enum"] == list(BOARDS)
    assert {board.platform for board in BOARDS.values()} <= set(schema["platform"]["enum"])
    rows = [f"| `{name}` | {' | '.join(map(str, board))} |" for name, board in BOARDS.items()]
    assert "\n".join(rows) in (ROOT / "docs/verdict.md").read_text()


def test_under_dvc_a_board_of_another_chip_is_told():
    assert board_problem(DEFAULTS) is None and board_problem(DEFAULTS | {"board_model": "luckfox-pico-pro"}) is None
    assert "write platform: rv1103, verdict.cma_mb: 24" in board_problem(DEFAULTS | PICO)
