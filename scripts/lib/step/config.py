"""Reports what is wrong with the form of a config, in plain sentences."""

import difflib
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from lib.step import yaml_text

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a block of keys",
    "string": "a text",
    "null": "null",
}
# The pattern of what becomes a part of a file name.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z"


def form_problems(config: dict, schema: dict) -> list[str]:
    """Everything in `config` that a JSON schema does not allow, one sentence each, sorted by position."""
    errors = sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    # Of a value of another type the schema would complain once more: infinity is too large, too.
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    return [
        _sentence(error) for error in errors if error.validator == "type" or tuple(error.absolute_path) not in mistyped
    ]


def with_numbers(value, schema: dict, root: dict | None = None):
    """`value` with texts of digits and whole floats as ints, "true" and "false" as booleans, where `schema` says so.

    Snakemake passes what stands inside `--config 'key={a: [1]}'` on as text. A JSON schema accepts 8.0 as a whole
    number, and one run would then have files named after both 8 and 8.0.
    """
    root = root or schema
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {name: with_numbers(entry, known.get(name, others), root) for name, entry in value.items()}
    if isinstance(value, list):
        return [with_numbers(entry, schema.get("items", {}), root) for entry in value]
    if "integer" in schema.get("type", ()) and isinstance(value, str) and value.isdecimal():
        return int(value)
    if "integer" in schema.get("type", ()) and isinstance(value, float) and value.is_integer():
        return int(value)
    if schema.get("type") == "number" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if value in ("true", "false") and (schema.get("type") == "boolean" or True in schema.get("enum", [])):
        return value == "true"
    return value


def _sentence(error) -> str:
    key = _key(error.absolute_path) or "the config"
    value = error.instance
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        return "; ".join(
            f"{_key([*error.absolute_path, name])} is not a known key{nearest(name, known)}"
            for name in sorted(set(value) - set(known))
        )
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in value]
        return "; ".join(f"{_key([*error.absolute_path, name])} is missing" for name in missing)
    if error.validator == "enum":
        known = [str(word).lower() if isinstance(word, bool) else str(word) for word in error.validator_value]
        return f"{key} is '{value}', not one of {', '.join(known)}{nearest(str(value), known, listed=False)}"
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        return f"{key} is {value!r}; {' or '.join(_TYPES[name] for name in wanted)} is expected"
    if error.validator in ("minItems", "minProperties"):
        return f"{key} is empty; at least one entry is needed"
    if error.validator == "minimum":
        return f"{key} is {value}; at least {error.validator_value} is needed"
    if error.validator == "maximum":
        return f"{key} is {value}; at most {error.validator_value} is possible"
    if error.validator == "maxLength":
        what = f"{key}: {value[:20]}…" if "propertyNames" in error.absolute_schema_path else key
        return f"{what} has {len(value)} characters; at most {error.validator_value} are possible"
    if error.validator == "pattern" and "sha256" in key:
        return f"{key} is '{value}', not the 64 hex digits of a SHA-256"
    if error.validator == "pattern" and error.validator_value != _NAME:
        return f"{key} is {value!r}, which does not have the expected form: {error.schema['description']}"
    if error.validator == "pattern":
        return f"{key}: {value!r} cannot be part of a file name; use letters, digits, '.', '_' and '-'"
    return f"{key}: {error.message}"


def _key(path) -> str:
    """A path in the config as text, such as `sweep.imgsz[1]`."""
    words = ""
    for step in path:
        words += f"[{step}]" if isinstance(step, int) else f".{step}"
    return words.lstrip(".")


def nearest(name: str, known: list[str], listed: bool = True) -> str:
    """The end of a sentence about an unknown `name`: the known name that it resembles, or, if `listed`, all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (known: {', '.join(known)})" if listed and known else ""


def repeated_keys(path: Path) -> list[str]:
    """One sentence per key that is in one block of a YAML file twice: YAML parsers silently keep the last.

    Or one sentence when a block never ends.
    """
    try:
        root = yaml_text.compose(path.read_text(encoding="utf-8"))
    except yaml_text.Endless as error:
        return [f"{path}: {error}"]
    except yaml.YAMLError:
        return []  # the code that loads the file reports that it is not YAML
    return [f"{path}, {sentence}" for sentence in _repeated(root, [])]


def _repeated(node, above: list):
    if isinstance(node, yaml.MappingNode):
        first = {}
        for key, value in node.value:
            line, here = key.start_mark.line + 1, [*above, key.value]
            if isinstance(key.value, str):
                if key.value in first:
                    yield f"line {line}: {_key(here)} is there twice, first on line {first[key.value]}; keep one"
                first.setdefault(key.value, line)
            yield from _repeated(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _repeated(value, [*above, number])
