"""Print the reference of the config keys or of the table columns as Markdown.

The meaning of a key is in config/schema.yaml, that of a column in scripts/lib/results/columns.py. The documentation
shows the same tables.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])  # where lib is; Python does so itself, save with PYTHONSAFEPATH

import argparse
from pathlib import Path

import yaml

from lib.results.columns import BOARD_COLUMNS, COLUMNS, FRONTIER_COLUMNS, LAYER_COLUMNS, STUDY_COLUMNS
from lib.step.errors import run_step

CONFIG = Path(__file__).resolve().parent.parent / "config"
TYPES = {"array": "list", "boolean": "`true`, `false`", "integer": "whole number", "string": "text"}
TABLES = {
    "table.csv": COLUMNS,
    "table.csv, behind the others after `snakemake board`": BOARD_COLUMNS,
    "layers/….csv": LAYER_COLUMNS,
    "calibration_study.csv": STUDY_COLUMNS,
    "frontier.csv": FRONTIER_COLUMNS,
}


def main(argv=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("config", "columns"), help="config keys, or columns of the tables")
    print(config_reference() if parser.parse_args(argv).what == "config" else columns_reference())


def config_reference() -> str:
    """A table of each block of the config: key, meaning, values, default (of config/config.yaml)."""
    schema = yaml.safe_load((CONFIG / "schema.yaml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    alone = [each for each in keys(schema) if "." not in each[0]]
    parts = [table(("key", "meaning", "values", "default"), (_row(*each, defaults) for each in alone))]
    for name, block in schema["properties"].items():
        if rows := [_row(*each, defaults) for each in keys(schema) if each[0].startswith(f"{name}.")]:
            parts += [f"## {name}", block["description"], table(("key", "meaning", "values", "default"), rows)]
    return "\n\n".join(parts)


def columns_reference() -> str:
    """The columns of a run's tables, a heading a table."""
    parts = []
    for heading, columns in TABLES.items():
        rows = [(f"`{name}`", text) for name, text in columns.items()]
        parts += [f"## {heading}", table(("column", "meaning"), rows)]
    return "\n\n".join(parts)


def keys(schema: dict) -> list[tuple[str, dict]]:
    """Every key that holds a value, as it is written in an overlay (`sweep.imgsz`), with its schema."""
    return list(_keys(schema, schema, ""))


def _keys(schema: dict, root: dict, prefix: str):
    for name, each in schema["properties"].items():
        resolved = root["$defs"][each["$ref"].rsplit("/", 1)[1]] | each if "$ref" in each else each
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
    """What a value may be, in a few words."""
    if "enum" in schema:
        return ", ".join(f"`{str(each).lower() if isinstance(each, bool) else each}`" for each in schema["enum"])
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
