"""What is wrong with a config, in sentences that a person understands."""

import difflib

from jsonschema import Draft202012Validator

from lib.errors import UserError
from lib.imgsz import parse_imgsz
from lib.sources import missing_checksum

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "object": "a block of keys",
    "string": "a text",
    "null": "null",
}


def problems(config: dict, schema: dict) -> list[str]:
    """Every problem of `config`, a sentence each: first those of form, then (if there are none) those between keys."""
    errors = sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    return [_sentence(error) for error in errors] or list(dict.fromkeys(_relations(config)))


def with_numbers(value, schema: dict, root: dict | None = None):
    """`value` with digits turned into whole numbers, and true and false into booleans, where `schema` wants them.

    Snakemake hands over what stands inside `--config 'key={a: [1]}'` as text.
    """
    root = root or schema
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {name: with_numbers(each, known.get(name, others), root) for name, each in value.items()}
    if isinstance(value, list):
        return [with_numbers(each, schema.get("items", {}), root) for each in value]
    if schema.get("type") == "integer" and isinstance(value, str) and value.isdecimal():
        return int(value)
    if schema.get("type") == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _sentence(error) -> str:
    key = _key(error.absolute_path) or "the config"
    value = error.instance
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        return "; ".join(
            f"{_key([*error.absolute_path, name])} is not a known key{_nearest(name, known)}"
            for name in sorted(set(value) - set(known))
        )
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in value]
        return "; ".join(f"{_key([*error.absolute_path, name])} is missing" for name in missing)
    if error.validator == "enum":
        known = list(map(str, error.validator_value))
        return f"{key} is '{value}', not one of {', '.join(known)}{_nearest(str(value), known, listed=False)}"
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        return f"{key} is {value!r}; {' or '.join(_TYPES[name] for name in wanted)} is expected"
    if error.validator in ("minItems", "minProperties"):
        return f"{key} is empty; at least one entry is needed"
    if error.validator == "minimum":
        return f"{key} is {value}; at least {error.validator_value} is needed"
    if error.validator == "maximum":
        return f"{key} is {value}; at most {error.validator_value} is possible"
    if error.validator == "pattern" and "sha256" in key:
        return f"{key} is '{value}', not the 64 hex digits of a SHA-256"
    if error.validator == "pattern":
        return f"{key}: '{value}' cannot be part of a file name; use letters, digits, '.', '_' and '-'"
    return f"{key}: {error.message}"


def _relations(config: dict):
    sweep, study = config["sweep"], config["calibration_study"]
    for key, names in (("sweep", sweep["model"]), ("calibration_study", [study["model"]])):
        for name in names:
            if name not in config["models"]:
                yield f"{key}.model names '{name}'{_nearest(name, sorted(config['models']))}; describe it under models"
            else:
                yield from _model_problems(name, config["models"][name])
    for key, sizes in (("sweep", sweep["imgsz"]), ("calibration_study", [study["imgsz"]])):
        for size in sizes:
            try:
                spelling = str(parse_imgsz(size))
            except UserError as error:
                yield f"{key}.imgsz: {error}"
            else:
                if spelling != str(size):
                    yield f"{key}.imgsz: write {spelling} for the square '{size}'"
    pool = config["split"]["calibration"]
    for count in sweep["max_images"]:
        if count > pool:
            yield f"sweep.max_images asks for {count} calibration images, the pool (split.calibration) holds {pool}"
    for name, values in sweep.items():
        if len(set(map(str, values))) < len(values):
            yield f"sweep.{name} names a value twice: {', '.join(map(str, values))}"


def _model_problems(name: str, model: dict):
    if "cfg" in model:
        return
    if not model.get("sha256"):
        yield f"models.{name}: {missing_checksum(model['weights'])}"
    if "names" in model:
        yield f"models.{name}.names belongs to a Darknet model, one with cfg; a checkpoint holds its own names"


def _key(path) -> str:
    """`sweep.imgsz[1]` of a path in the config."""
    words = ""
    for step in path:
        words += f"[{step}]" if isinstance(step, int) else f".{step}"
    return words.lstrip(".")


def _nearest(name: str, known: list[str], listed: bool = True) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (known: {', '.join(known)})" if listed and known else ""
