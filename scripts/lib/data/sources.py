"""Sources of files as the config names them: a URL or a path."""

from pathlib import Path

from lib.step.files import sha256

# In dataset.archive: the images that this run draws itself, whatever the run's name.
DRAWN = "drawn"


def is_url(source: str) -> bool:
    """Whether a source is fetched over HTTP rather than read from disk."""
    return source.startswith(("http://", "https://"))


def missing_checksum(sources: list[str]) -> str:
    """The message about weights without a checksum; it gives that of a local file, for the user to confirm."""
    for source in sources:
        try:
            if not is_url(source):
                return (
                    f"{source} has no sha256 in the config; loading a checkpoint runs code in it. "
                    f"If you trust this file, add sha256: {sha256(Path(source).expanduser())}"
                )
        except OSError:
            continue
    return f"{sources[0]} has no sha256 in the config; loading a checkpoint runs code in it. Add models.<name>.sha256"
