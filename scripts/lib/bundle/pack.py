"""Packs a bundle as a reproducible zip: the same files always give the same bytes."""

import zipfile
from pathlib import Path

EARLIEST = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path) -> Path:
    """Write `folder`.zip beside `folder`; its members are below the folder's name. Returns the zip's path."""
    target = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(str(Path(folder.name) / file.relative_to(folder)), EARLIEST)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, file.read_bytes())
    return target
