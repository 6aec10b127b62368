"""Print the reference of the config keys or of the table columns as Markdown, or write both to their pages.

The meaning of a key is in config/schema.yaml, that of a column in scripts/lib/results/columns.py. The pages
docs/config_keys.md and docs/table_columns.md contain the same tables; `pages` updates them.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python adds it itself, except with PYTHONSAFEPATH

import argparse
import re
from pathlib import Path

import yaml

from lib.results.columns import (
    BOARD_COLUMNS,
    CLASSIFIER_COLUMNS,
    COLUMNS,
    FRONTIER_COLUMNS,
    LAYER_COLUMNS,
    LIKENESS_COLUMNS,
    SIMULATOR_COLUMNS,
    STUDY_COLUMNS,
    TASK_COLUMNS,
    TOOLKIT_COLUMNS,
    TOOLKIT_STUDY_COLUMNS,
    TOP_BOARD_COLUMNS,
    TOP_COLUMNS,
)
from lib.step.errors import run_step
from lib.step.files import write_text

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"
TYPES = {"array": "list", "boolean": "`true`, `false`", "integer": "whole number", "string": "text"}
TABLES = {
    "table.csv": COLUMNS,
    "table.csv: more columns for the tasks `segment`, `pose` and `obb`": TASK_COLUMNS,
    "table.csv: more columns if a variant has the head `as_is`": LIKENESS_COLUMNS,
    "table.csv: more columns if such a variant has an output that is a vector": CLASSIFIER_COLUMNS,
    "table.csv: more columns for the task `classify`": TOP_COLUMNS,
    "table.csv: more columns if `evaluation.simulator` is not `toolkit`": SIMULATOR_COLUMNS,
    "table.csv: one more column if `toolkit` is not 2.3.2": TOOLKIT_COLUMNS,
    "table.csv: more columns after `snakemake board`": BOARD_COLUMNS + TOP_BOARD_COLUMNS,
    "layers/….csv": LAYER_COLUMNS,
    "calibration_study.csv": STUDY_COLUMNS,
    "toolkit_study.csv": TOOLKIT_STUDY_COLUMNS,
    "frontier.csv": FRONTIER_COLUMNS,
}
# The part of a page between these two lines is generated here.
BEGIN, END = "<!-- made by scripts/reference.py pages -->", "<!-- end -->"


def main(argv=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=("config", "columns", "pages"), help="config keys, columns of the tables, or both pages"
    )
    what = parser.parse_args(argv).what
    if what == "pages":
        for path, text in pages().items():
            write_text(path, text)
    else:
        print(config_reference() if what == "config" else columns_reference())


def pages() -> dict[Path, str]:
    """The pages with the references, and their current text."""
    references = {"config_keys.md": config_reference(), "table_columns.md": columns_reference()}
    paths = {ROOT / "docs" / name: text for name, text in references.items()}
    made = re.compile(f"(?<={BEGIN}\n\n).*(?=\n\n{END}\n)", re.DOTALL)
    return {path: made.sub(lambda _, text=text: text, path.read_text("utf-8")) for path, text in paths.items()}


def config_reference() -> str:
    """One table per block of the config: key, meaning, values, default (from config/config.yaml)."""
    schema = yaml.safe_load((CONFIG / "schema.yaml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    alone = [_row(key, form, defaults) for key, form in keys(schema) if "." not in key]
    parts = [table(("key", "meaning", "values", "default"), alone)]
    for name, block in schema["properties"].items():
        if rows := [_row(key, form, defaults) for key, form in keys(schema) if key.startswith(f"{name}.")]:
            parts += [f"## {name}", block["description"], table(("key", "meaning", "values", "default"), rows)]
    return "\n\n".join(parts)


def columns_reference() -> str:
    """The columns of a run's tables, one heading per table."""
    parts = []
    for heading, columns in TABLES.items():
        rows = [(f"`{column.name}`", column.label, column.sentences) for column in columns]
        parts += [f"## {heading}", table(("column", "heading", "meaning"), rows)]
    return "\n\n".join(parts)


def keys(schema: dict) -> list[tuple[str, dict]]:
    """Every key with a value, as it is written in an overlay (`sweep.imgsz`), with its schema."""
    return list(_keys(schema, schema, ""))


def _keys(schema: dict, root: dict, prefix: str):
    for name, block in schema["properties"].items():
        resolved = root["$defs"][block["$ref"].rsplit("/", 1)[1]] | block if "$ref" in block else block
        if "properties" in resolved:
            yield from _keys(resolved, root, f"{prefix}{name}.")
        elif resolved.get("type") == "object":  # of models, each with a name that the user chooses
            yield from _keys(resolved["additionalProperties"], root, f"{prefix}{name}.<name>.")
        else:
            yield prefix + name, resolved


def _row(key: str, schema: dict, defaults: dict) -> tuple[str, ...]:
    value = defaults
    for word in key.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    # YAML ends a document that is one scalar by a line of dots.
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]
    default = "" if value is None else f"`{text}`"
    return f"`{key}`", schema["description"], _values(schema), default


def _values(schema: dict) -> str:
    """The possible values, in a few words."""
    if "enum" in schema:
        values = (str(value).lower() if isinstance(value, bool) else value for value in schema["enum"])
        return ", ".join(f"`{value}`" for value in values)
    if "pattern" in schema:
        return "64 hex digits" if "fA-F" in schema["pattern"] else "letters, digits, `.`, `_`, `-`"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = " or ".join(TYPES[kind] for kind in kinds)
    if "maximum" in schema:
        words += f", {schema['minimum']} to {schema['maximum']}"
    elif schema.get("minimum"):
        words += f", at least {schema['minimum']}"
    if kinds == ["array"] and "enum" in schema["items"]:
        words += f" of {_values(schema['items'])}"
    return words


def table(header: tuple[str, ...], rows) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.exit(run_step(main))
