"""A look at a data set before anything runs: whether it can be read, its classes, whether its pool is large enough.

Images are not opened. A local archive is unpacked without them, with empty files in their place.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lib.data.archives import TEXTS, is_archive, is_compressed_tar, is_data, is_named, made, reading, refuse_other
from lib.data.config_files import DATASET_PATHS
from lib.data.names import demand_plain_list, read_names
from lib.data.sources import DRAWN, is_url
from lib.step.errors import UserError

# Other modules are imported where they are used: loading them takes longer than a look at most configs.
if TYPE_CHECKING:
    from lib.data.formats.source import Source

# Larger ones are read only when they are fetched; otherwise each start of the workflow would wait for them.
LARGEST_ZIP = 5000  # members
LARGEST_JSON = 50_000_000  # bytes
LARGEST_TAR = 50_000_000  # bytes of a compressed one, which is decompressed to see its members


class Look(NamedTuple):
    """The result of a look at a config's data set: its class names and its `kpt_shape`, where they can be known.

    files: the state of its files, for a rule's inputs; empty where they are not on this machine.
    """

    names: tuple[str, ...] | None
    files: str
    kpt_shape: object = None


def looked_at(config: dict) -> Look:
    """What can be known about a config's data set before the run.

    Raises UserError, one sentence, for what would end the run later: a source that is no archive and no folder, a YAML
    in place of names, a description that is wrong, a pool that is too small.
    """
    dataset, split = config["dataset"], config["split"]
    given = dataset.get("names")
    if isinstance(given, str):
        demand_plain_list(given)
    names = tuple(read_names([given] if isinstance(given, str) else list(given))) if given else None
    with stand_ins() as scratch:
        sources = described(dataset, names, scratch, config["task"])
        if not sources:
            return Look(names, "", dataset.get("kpt_shape"))
        from lib.data.parts import Wanted, kept

        if sources[0].names is None:
            raise UserError(f"dataset.names: {sources[0].place} has no class names; name them")
        wanted = kept(*sources, Wanted(config["evaluation"]["part"], split["calibration"], split["seed"]))
        if len(wanted.items) <= split["calibration"]:
            raise UserError(
                f"split.calibration asks for {split['calibration']} of {len(wanted.items)} images; each side needs at "
                "least one"
            )
        lines = file_lines(sources, scratch)
        state = hashlib.sha256("".join(lines).encode()).hexdigest()
        return Look(sources[0].names, state, dataset.get("kpt_shape") or sources[0].kpt_shape)


@contextlib.contextmanager
def stand_ins() -> Iterator[Path]:
    """Yield a scratch folder for stand-ins for archives. A UserError about a stand-in names the archive instead."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            yield Path(scratch)
        except UserError as error:
            raise UserError(re.sub(rf"{re.escape(scratch)}/\d+/", "", str(error))) from None


def described(
    dataset: dict, names: tuple[str, ...] | None, scratch: Path, task: str
) -> tuple[Source, Source | None] | None:
    """The data set of a config's block and its calibration images, if it has some; None where some files are not local.

    Raises UserError when a source is neither an archive nor a folder, or its description is wrong.
    """
    pool = dataset.get("calibration") or {}
    for where, block in (("dataset", dataset), ("dataset.calibration", pool)):
        _demand_readable(block, where)
    if not (_is_here(dataset) and (not pool or _is_here(pool))):
        return None
    from lib.data.opening import Place, opened

    stand_in = partial(_stand_in, scratch)
    source = opened(Place.of(dataset, names, "dataset", task), stand_in)
    return source, opened(Place.of(pool, None, "dataset.calibration"), stand_in) if pool else None


def file_lines(sources: tuple[Source, Source | None], scratch: Path) -> list[str]:
    """One line per image and label that is in a folder: path, size and time of its last change; sorted."""
    lines = []
    for source in filter(None, sources):
        for item in source.items:
            for path in (item.image, item.label):
                if isinstance(path, Path) and path.exists() and scratch not in path.parents:
                    stat = path.stat()
                    lines.append(f"{path} {stat.st_size} {stat.st_mtime_ns}\n")
    return sorted(lines)


def _demand_readable(block: dict, where: str) -> None:
    for source in block.get("archive") or []:
        path = Path(source).expanduser()
        if is_url(source) or source == DRAWN or path.is_dir() or not path.exists() or is_archive(path):
            continue
        refuse_other(path)
        hint = f"; for a data.yaml write dataset: {{yaml: {source}}}" if path.suffix in (".yaml", ".yml") else ""
        raise UserError(f"{where}.archive: {source} is neither a zip, a tar nor a folder{hint}")


def _is_here(block: dict) -> bool:
    """Whether everything that a block names is on this machine and small enough to look at."""
    sources = [block[key] for key in DATASET_PATHS if block.get(key)]
    if block.get("archive"):
        sources = block["archive"][:1]  # the others are fallbacks
    for source in sources:
        path = Path(source).expanduser()
        if is_url(source) or source == DRAWN or not path.exists():
            return False
        if path.suffix.lower() == ".json" and path.stat().st_size > LARGEST_JSON:
            return False
        if is_archive(path):
            if is_compressed_tar(path) and path.stat().st_size > LARGEST_TAR:
                return False
            with reading(path) as (members, _):
                if len(members) > LARGEST_ZIP:
                    return False
    return bool(sources)


def _stand_in(scratch: Path, sources: list[str], checksum: str | None, config_key: str) -> Path:
    """The first source as a folder: itself or, for an archive, a folder of its name in which the images are empty."""
    path = Path(sources[0]).expanduser()
    if path.is_dir():
        return path
    folder = scratch / str(len(list(scratch.iterdir()))) / path.name
    folder.mkdir(parents=True)
    _unpack_texts(path, folder)
    return folder


def _unpack_texts(archive: Path, folder: Path) -> None:
    with reading(archive) as (members, opened):
        for member in members:
            if is_data(member) and member.path.suffix.lower() in TEXTS and member.size <= LARGEST_JSON:
                with opened(member) as file:
                    made(folder, member).write_bytes(file.read())
            elif is_data(member) or is_named(member):
                made(folder, member).touch()
