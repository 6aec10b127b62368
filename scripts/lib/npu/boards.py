"""Boards by name: chip, the memory that the board's image reserves for NPU and camera (CMA), and the NPU's clock.

Chip and CMA are from the vendor's SDK (LuckfoxTECH/luckfox-pico, project/cfg/BoardConfig_IPC: the device tree and
RK_BOOTARGS_CMA_SIZE); your own image may set another size. Clocks are those of lib.npu.timing.
"""

from typing import NamedTuple

from lib.npu.timing import CLOCKS


class Board(NamedTuple):
    """What a board's name stands for: `platform`, `verdict.cma_mb` and `verdict.clock_mhz` of the config."""

    platform: str
    cma_mb: int
    clock_mhz: int


_RV1103, _RV1106 = Board("rv1103", 24, CLOCKS["rv1103"]), Board("rv1106", 66, CLOCKS["rv1106"])
BOARDS = {
    "luckfox-pico": _RV1103,
    "luckfox-pico-mini": _RV1103,
    "luckfox-pico-plus": _RV1103,
    "luckfox-pico-pro": _RV1106,
    "luckfox-pico-max": _RV1106,
    "luckfox-pico-ultra": _RV1106,
    "luckfox-pico-ultra-w": _RV1106,
    "luckfox-pico-pi": _RV1106,
    "luckfox-pico-zero": Board("rv1106", 100, CLOCKS["luckfox-pico-zero"]),
}


def with_board(merged: dict, layers: list[dict]) -> dict:
    """A merged config with platform, CMA and clock of its `board_model`, where it names one.

    Values that the config file which names the board gives itself are kept, and those of a later one; `layers` are the
    files' contents in the order in which they are laid over each other; other values in `merged` are from the command
    line.
    """
    board = BOARDS.get(merged.get("board_model"))
    if board is None:
        return merged
    naming = [number for number, layer in enumerate(layers) if layer.get("board_model") == merged["board_model"]]
    first = naming[-1] if naming else len(layers)
    below, above = {}, set()
    for number, layer in enumerate(layers):
        below |= _values(layer)
        above |= _values(layer).keys() if number >= first else set()
    above |= {key for key, value in _values(merged).items() if below.get(key) != value}
    mine = {key: value for key, value in board._asdict().items() if key not in above}
    platform = {"platform": mine.pop("platform")} if "platform" in mine else {}
    return merged | platform | {"verdict": merged["verdict"] | mine}


def _values(layer: dict) -> dict:
    """The platform, CMA and clock that a config gives."""
    verdict = layer.get("verdict") if isinstance(layer.get("verdict"), dict) else {}
    return {key: block[key] for key, block in zip(Board._fields, (layer, verdict, verdict)) if key in block}


def board_problem(config: dict) -> str | None:
    """A sentence if a whole config names a board of another platform than its own, since DVC does not apply boards."""
    board = BOARDS.get(config.get("board_model"))
    if board is None or board.platform == config["platform"]:
        return None
    keys = f"platform: {board.platform}, verdict.cma_mb: {board.cma_mb}, verdict.clock_mhz: {board.clock_mhz}"
    return (
        f"board_model is {config['board_model']}, which is {board.platform}, but platform is {config['platform']}; "
        f"under DVC write {keys}"
    )
