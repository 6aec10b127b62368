"""Keeps the results of a run on disk, so that an interrupted run can be resumed."""

import json
from pathlib import Path

from lib import tasks
from lib.board.lines import ImageResult, read_lines, to_line
from lib.detector.output_spec import OutputSpec


class Progress:
    """The results for one bundle so far, in a file in `folder`, in the program's format.

    The first line of the file holds a key for model and images. With another `key`, the old results are dropped. A
    truncated line is dropped too. `spec` describes the model's outputs; without it only boxes are read.
    """

    def __init__(self, folder: Path, key: str, spec: OutputSpec | None = None):
        self.path, self._task = folder / "found.jsonl", spec.task if spec else tasks.DEFAULT
        self.results: dict[str, ImageResult] = {}
        lines = self.path.read_bytes().split(b"\n") if self.path.is_file() else []
        if lines and lines[0] == _head(key):
            self.results = {result.image: result for result in read_lines(b"\n".join(lines[1:]), spec).results}
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(_head(key) + b"\n")
        self.add(list(self.results.values()))

    def add(self, results: list[ImageResult]) -> None:
        """Append results to the file and to `results`."""
        self.results |= {result.image: result for result in results}
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(f"{to_line(result, self._task)}\n" for result in results)


def _head(key: str) -> bytes:
    return json.dumps({"key": key}).encode()
