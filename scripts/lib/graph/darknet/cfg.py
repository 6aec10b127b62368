"""Reads Darknet's .cfg: `[kind]` starts a section, `option = value` follows, `#` and `;` begin a comment.

Format: https://github.com/AlexeyAB/darknet/wiki/CFG-Parameters-in-the-different-layers
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

from lib.step.errors import UserError


@dataclass
class Section:
    """One section: its kind, the line it starts on, and its options as text. Records which options were read."""

    path: Path
    line: int
    kind: str
    options: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def error(self, problem: str) -> UserError:
        """A UserError that names file, line and section, and the `problem`."""
        return UserError(f"{self.path}, line {self.line}, [{self.kind}]: {problem}")

    def text(self, name: str, default: str | None = None) -> str:
        """An option's text. Raises UserError when the option is missing and has no default."""
        self.read.add(name)
        value = self.options.get(name, default)
        if value is None:
            raise self.error(f"option '{name}' is missing")
        return value

    def integer(self, name: str, default: int | None = None, least: int = 0, most: int = 1 << 16) -> int:
        """An option as a whole number in least..most. Raises UserError for anything else."""
        [value] = self._several(name, int, default, 1)
        if not least <= value <= most:
            raise self.error(f"option '{name}' is {value}, not in {least}..{most}")
        return value

    def number(self, name: str, default: float) -> float:
        """An option as a finite number. Raises UserError for anything else."""
        return self._several(name, float, default, 1)[0]

    def integers(self, name: str) -> list[int]:
        """An option as whole numbers with commas between. Raises UserError for anything else."""
        return self._several(name, int)

    def numbers(self, name: str) -> list[float]:
        """An option as finite numbers with commas between. Raises UserError for anything else."""
        return self._several(name, float)

    def _several(self, name: str, number: type, default=None, count: int | None = None) -> list:
        text = self.text(name, None if default is None else str(default))
        words = text.rstrip(",").split(",")
        try:
            values = [number(word) for word in words]
            if (count is None or len(values) == count) and all(map(math.isfinite, values)):
                return values
        except ValueError:
            pass
        kind = {int: "whole number", float: "number"}[number]
        wanted = f"a {kind}" if count == 1 else f"{kind}s with commas between"
        raise self.error(f"option '{name}' is '{text[:60]}'; {wanted} is expected")


def read_cfg(path: Path) -> list[Section]:
    """The sections of a .cfg in their order, [net] first.

    Raises UserError, naming the offending line, when the file is not a .cfg.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a Darknet .cfg: it is not text (is it the .weights?)") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    sections: list[Section] = []
    for number, line in enumerate(lines, start=1):
        line = line.split("#")[0].split(";")[0].strip()
        if not line:
            continue
        where = f"{path}, line {number} ('{line[:60]}')"
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(path, number, line[1:-1].strip().lower()))
            continue
        name, equals, value = map(str.strip, line.partition("="))
        if not sections or not (name and equals and value):
            raise UserError(f"{where} is neither '[kind]' nor 'option = value' in a section; is this a Darknet .cfg?")
        if name in sections[-1].options:
            raise UserError(f"{where}: option '{name}' of [{sections[-1].kind}] is there twice; delete one")
        sections[-1].options[name] = value
    if not sections or sections[0].kind not in ("net", "network"):
        raise UserError(f"{path} is not a Darknet .cfg: its first section is not [net]")
    return sections
