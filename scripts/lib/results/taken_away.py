"""Checks the files that people take from a run's folder: no later step reads them, so none would notice damage."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from lib.npu.build import Build
from lib.step.errors import UserError

_PNG_END = b"IEND\xaeB`\x82"


def damaged(run: Path) -> list[str]:
    """One sentence per table, plot, report, model and zip in the folder `run` that is damaged; the checks are cheap."""
    return [
        f"{path} is damaged: {reason}; delete {_deleted(run, pattern)} and run again"
        for pattern, reason_of in _CHECKS.items()
        for path in sorted(run.glob(pattern))
        if (reason := reason_of(path))
    ]


def _deleted(run: Path, pattern: str) -> str:
    """What to delete: one step makes all bundles, so for a bundle their whole folder."""
    return str(run / "bundle") if pattern.startswith("bundle/") else "it"


def _without_end(*ends: bytes) -> Callable[[Path], str | None]:
    """A check that a file ends with one of `ends`."""

    def reason_of(path: Path) -> str | None:
        with open(path, "rb") as file:
            # Only the end is read, since each start of Snakemake waits for this.
            file.seek(max(0, path.stat().st_size - max(map(len, ends))))
            return None if file.read().endswith(ends) else "it is truncated"

    return reason_of


def _table(path: Path) -> str | None:
    """A table for people has the rows of the CSV that was written before it, a title and a rule."""
    lines, csv = path.read_bytes(), path.with_suffix(".csv")
    if not lines.endswith(b"|\n"):
        return "it is truncated"
    # A table older than its CSV is being made again.
    if not csv.exists() or csv.stat().st_mtime_ns > path.stat().st_mtime_ns:
        return None
    rows = [text.count(b"\n") - titles for text, titles in ((lines, 2), (csv.read_bytes(), 1))]
    return None if rows[0] == rows[1] else f"it has {rows[0]} rows, but {csv.name} has {rows[1]}"


def _json(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return f"it is not valid JSON ({error})"
    return None


def _model(path: Path) -> str | None:
    try:
        built = Build.read(path.with_name("build.json")).rknn_bytes
    except UserError:
        return None  # build.json is damaged or from another version; the step that reads it reports that
    size = path.stat().st_size
    return None if size == built else f"it has {size} bytes, but its build wrote {built}"


def _zip(path: Path) -> str | None:
    return None if zipfile.is_zipfile(path) else "it is truncated"


_CHECKS = {
    "table.csv": _without_end(b"\n"),
    "frontier.csv": _without_end(b"\n"),
    "calibration_study.csv": _without_end(b"\n"),
    "toolkit_study.csv": _without_end(b"\n"),
    "layers/**/*.csv": _without_end(b"\n"),
    "table.md": _table,
    "frontier.md": _table,
    "calibration_study.md": _without_end(b"\n"),
    "toolkit_study.md": _without_end(b"\n"),
    "summary.json": _json,
    "calibration_study.png": _without_end(_PNG_END),
    "plots/*.png": _without_end(_PNG_END),
    "layers/**/*.png": _without_end(_PNG_END),
    "report.html": _without_end(b"</html>\n", b"</html>"),
    "rknn/*/*/*/*/model.rknn": _model,
    "bundle/*/*/*/*.zip": _zip,
}
