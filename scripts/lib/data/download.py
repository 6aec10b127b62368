"""Files that come from the first of several sources (a URL, a path) that works."""

import shutil
from pathlib import Path

import requests
from tqdm import tqdm

from lib.data.sources import is_url
from lib.step import console
from lib.step.errors import FULL, UserError
from lib.step.files import sha256, whole

TIMEOUT_S = (10, 60)  # to connect, and between two reads


class _Unusable(Exception):
    """Why one source cannot be used."""


def fetch(sources: list[str], output, checksum: str | None, config_key: str) -> str:
    """Download the first source that works to `output`; its SHA-256 is checked before it appears there.

    A download that breaks off is thrown away, not resumed: these files are small. Returns the source used. When
    none works, raises UserError with every source and its reason; `config_key` is where it sends the user.
    """
    reasons = []
    for source in sources:
        try:
            with whole(output) as part:
                _download(source, part) if is_url(source) else _copy(source, part)
                _check(part, checksum, source)
            return source
        except _Unusable as reason:
            reasons.append(f"  {source}: {reason}")
    listed = "\n".join(reasons) or "  (none is given)"
    raise UserError(
        f"{Path(output).name} could not be fetched from any source:\n{listed}\n"
        f"put a copy on this machine and name its path in the config under {config_key}"
    )


def _copy(source: str, part: Path) -> None:
    try:
        shutil.copyfile(Path(source).expanduser(), part)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise _Unusable(error.strerror) from None


def _download(url: str, part: Path) -> None:
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            total = int(answer.headers.get("content-length", 0)) or None
            bar = tqdm(
                total=total,
                unit="B",
                unit_scale=True,
                desc=part.name.split(".")[1],
                file=console.terminal(),
                disable=None,
            )
            with bar, open(part, "wb") as file:
                for block in answer.iter_content(1 << 16):
                    file.write(block)
                    bar.update(len(block))
    except requests.HTTPError as error:
        raise _Unusable(f"the server answered {error.response.status_code} {error.response.reason}") from None
    except requests.Timeout:
        raise _Unusable("the server did not answer in time") from None
    except requests.ConnectionError as error:
        cause = "its name cannot be resolved" if "NameResolution" in repr(error) else "the connection failed"
        raise _Unusable(cause) from None
    except requests.RequestException as error:
        raise _Unusable(f"the download broke off ({type(error).__name__})") from None


def _check(part: Path, checksum: str | None, source: str) -> None:
    if checksum is None:
        return
    actual = sha256(part)
    if actual != checksum.lower():
        again = "" if is_url(source) else f"; if you made it anew (trained it again), set sha256: {actual}"
        raise _Unusable(f"its sha256 is {actual}, not the {checksum} that the config asks for{again}")
