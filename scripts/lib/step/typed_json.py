"""JSON files as frozen dataclasses, so that the data passed between steps has names and types.

A dataclass's fields are the keys, in their order. A field may be a str, int, float, bool, None, a Literal, one of
several (`X | None`), a list, a tuple, a dict of str, another dataclass, or a class with a from_json and to_json of its
own.
"""

import functools
import json
import types
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lib.step.errors import UserError
from lib.step.files import read_json, write_json

_OMITTED = "omitted where it is None"
# A whole number is also a number, but true and false, which Python treats as 1 and 0, are not.
_PLAIN = {
    str: ((str,), "text"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    type(None): ((type(None),), "null"),
}


class JsonRecord:
    """Base class of a frozen dataclass that is a JSON file or a part of one."""

    def to_json(self) -> dict:
        """The record as JSON's own types."""
        return _keys(self)

    @classmethod
    def from_json(cls, value, where):
        """The record made from JSON's own types. Raises UserError as the function `from_json` does."""
        return _record(cls, value, where, "")

    @classmethod
    def read(cls, path):
        """The record in a file. Raises UserError as `from_json` does, and when the file is missing or not JSON."""
        return cls.from_json(read_json(path), path)

    def write(self, path) -> None:
        """Write the record as an indented JSON file, whole or not at all."""
        write_json(path, self.to_json())


def omitted_if_none(**options):
    """A field whose key is left out of the file where its value is None; `options` are those of dataclasses.field."""
    return field(default=None, metadata={_OMITTED: True}, **options)


def from_metadata(cls, metadata: dict[str, str], key: str):
    """The `cls` that an ONNX's metadata holds under `key`, or None. Raises UserError when it is damaged."""
    if key not in metadata:
        return None
    try:
        value = json.loads(metadata[key])
    except json.JSONDecodeError:
        raise UserError(f"the model's metadata {key} is not valid JSON; make the model again") from None
    return cls.from_json(value, f"the model's metadata {key}")


def to_json(value):
    """A dataclass, or a container of some, as JSON's own types."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return _keys(value)
    if isinstance(value, dict):
        return {key: to_json(part) for key, part in value.items()}
    return [to_json(part) for part in value] if isinstance(value, list | tuple) else value


def from_json(cls, value, where):
    """An object of the dataclass (or other type) `cls` from JSON's own types; `where` names the file they are from.

    A field with a default may be missing. Raises UserError, naming the file and the key's path, for a key that is
    missing, unknown or of another type, and where the class itself raises ValueError.
    """
    return _parse(cls, value, where, "")


def _keys(record) -> dict:
    parts = {key: getattr(record, key.name) for key in fields(record)}
    return {key.name: to_json(part) for key, part in parts.items() if part is not None or _OMITTED not in key.metadata}


def _record(cls, value, where, path: str):
    if not isinstance(value, dict):
        raise _wrong(value, where, path, "an object")
    known = {key.name: key for key in fields(cls) if key.init}
    required = [name for name, key in known.items() if key.default is MISSING and key.default_factory is MISSING]
    subject = f"{where}: {path}" if path else f"{where}"
    if missing := [name for name in required if name not in value]:
        raise _damaged(f"{subject} lacks {', '.join(missing)}")
    if unknown := [name for name in value if name not in known]:
        raise _damaged(f"{subject} holds {', '.join(unknown)}, which is not known")
    hints = _hints(cls)
    parts = {name: _parse(hints[name], part, where, f"{path}.{name}".lstrip(".")) for name, part in value.items()}
    try:
        return cls(**parts)
    except ValueError as error:
        raise _damaged(f"{subject}: {error}") from None


@functools.cache
def _hints(cls) -> dict:
    return get_type_hints(cls)


def _parse(kind, value, where, path: str):
    """`value` as an object of type `kind`; `path` leads to it from the top of the file."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if kind in _PLAIN:
        return _plain(kind, value, where, path)
    if origin is Literal:
        if value not in parts or type(value) not in map(type, parts):
            raise _wrong(value, where, path, f"one of {', '.join(map(str, parts))}")
        return value
    if origin in (Union, types.UnionType):
        return _one_of(parts, value, where, path)
    if origin in (list, tuple):
        return _sequence(origin, parts, value, where, path)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(value, where, path, "an object")
        return {key: _parse(parts[1], part, where, f"{path}.{key}".lstrip(".")) for key, part in value.items()}
    own = getattr(kind, "from_json", JsonRecord.from_json)
    if own.__func__ is JsonRecord.from_json.__func__:
        return _record(kind, value, where, path)
    return own(value, f"{where}: {path}" if path else where)


def _plain(kind, value, where, path: str):
    accepted, meaning = _PLAIN[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(value, where, path, meaning)
    return value


def _one_of(kinds: tuple, value, where, path: str):
    """`value` as the first of `kinds` that it fits; where there is only one kind beside null, that kind's own error."""
    others = [kind for kind in kinds if kind is not type(None)]
    if value is None and len(others) < len(kinds):
        return None
    for kind in others[:-1]:
        try:
            return _parse(kind, value, where, path)
        except UserError:
            pass
    return _parse(others[-1], value, where, path)


def _sequence(kind, parts: tuple, value, where, path: str):
    """A list or tuple; `parts` are the types of its members, or the single type of all of them."""
    if not isinstance(value, list):
        raise _wrong(value, where, path, "a list")
    of_one_type = kind is list or parts[1:] == (...,)
    if not of_one_type and len(parts) != len(value):
        raise _wrong(value, where, path, f"a list of {len(parts)}")
    kinds = [parts[0]] * len(value) if of_one_type else parts
    return kind(_parse(member, part, where, f"{path}[{n}]") for n, (member, part) in enumerate(zip(kinds, value)))


def _wrong(value, where, path: str, meaning: str) -> UserError:
    text = json.dumps(value)
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    return _damaged(f"{where}{path and f': {path}'} is {shown}, not {meaning}")


def _damaged(fault: str) -> UserError:
    return UserError(f"{fault}; delete it and run again")
