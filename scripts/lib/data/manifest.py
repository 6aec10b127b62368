"""Checksums of a folder's files, stored in the folder, so that lost or changed files are noticed, not evaluated.

FOLDER/.sha256 has the format of `sha256sum`; `sha256sum -c .sha256` checks it. It is hidden, so that code that lists a
folder's images or labels does not see it.
"""

from pathlib import Path

from lib.step.errors import UserError
from lib.step.files import sha256

MANIFEST = ".sha256"
SHOWN = 5  # names in a message


def write_manifest(folder: Path) -> None:
    """Write the checksums of all files in `folder` except hidden ones."""
    files = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    (folder / MANIFEST).write_text("".join(f"{sha256(path)}  {path.name}\n" for path in files))


def has_manifest(folder: Path) -> bool:
    """Whether a step made `folder`: steps leave checksums there."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, str]:
    """The checksum of each file, by its name, as `write_manifest` wrote them; empty without a manifest."""
    if not has_manifest(folder):
        return {}
    lines = (folder / MANIFEST).read_text().splitlines()
    return dict(line.split("  ", 1)[::-1] for line in lines if "  " in line)


def same_files(folder: Path) -> list[list[str]]:
    """Names of files with the same bytes, by the manifest: one list per group of equal files, sorted."""
    names = {}
    for name, checksum in sorted(read_manifest(folder).items()):
        names.setdefault(checksum, []).append(name)
    return [alike for alike in names.values() if len(alike) > 1]


def check_manifest(folder: Path, names: list[str] | None = None) -> None:
    """Raises UserError when files of `folder` are missing, new or changed (`names`: only these files are read).

    A folder without checksums is the user's and is not checked.
    """
    if not has_manifest(folder):
        return
    kept = read_manifest(folder)
    here = {path.name for path in folder.iterdir() if path.name[0] != "."}
    both = sorted(here & kept.keys() if names is None else here & kept.keys() & set(names))
    wrong = {
        "missing": sorted(kept.keys() - here),
        "new": sorted(here - kept.keys()),
        "changed": [name for name in both if sha256(folder / name) != kept[name]],
    }
    if any(wrong.values()):
        faults = "; ".join(f"{len(files)} {how} ({', '.join(files[:SHOWN])})" for how, files in wrong.items() if files)
        raise UserError(
            f"{folder} was changed after its step wrote it: {faults}; "
            "change the source instead, delete this folder, run again"
        )
