"""Fetches a file from the first of several sources (URLs, paths) that works."""

import shutil
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util.retry import Retry

from lib.data.sources import is_url
from lib.step import console
from lib.step.errors import FULL, UserError
from lib.step.files import LFS_POINTER, is_lfs_pointer, sha256, whole

TIMEOUT_S = (10, 60)  # for connecting, and between two reads
TRIES = 3
BUSY = (429, 500, 502, 503, 504)  # status codes after which a later try may succeed
LONGEST_WAIT_S = 60


class _Unusable(Exception):
    """Why one source cannot be used."""


class _Differs(_Unusable):
    """The source is there, but its bytes are not those that the config asks for."""


def fetch(sources: list[str], output, checksum: str | None, config_key: str) -> str:
    """Fetch the first source that works to `output`; its SHA-256 is checked before the file appears there.

    A busy server is asked again, and an interrupted transfer is resumed. Returns the source used. When none works,
    raises UserError with every source and its reason; its message sends the user to `config_key`.
    """
    reasons: list[tuple[str, _Unusable]] = []
    for source in sources:
        try:
            with whole(output) as part:
                _download(source, part) if is_url(source) else _copy(source, part)
                if is_lfs_pointer(part):
                    raise _Unusable(f"it is {LFS_POINTER}")
                _check(part, checksum, source)
            return source
        except _Unusable as reason:
            reasons.append((source, reason))
    listed = "\n".join(f"  {source}: {reason}" for source, reason in reasons) or "  (none is given)"
    are_here = [isinstance(reason, _Differs) and not is_url(source) for source, reason in reasons]
    copied = f"\nput a copy on this machine and name its path in the config under {config_key}"
    remedy = "" if are_here and all(are_here) else copied
    raise UserError(f"{Path(output).name} could not be fetched from any source:\n{listed}{remedy}")


def _copy(source: str, part: Path) -> None:
    try:
        shutil.copyfile(Path(source).expanduser(), part)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise _Unusable(error.strerror) from None


class _Broken(Exception):
    """A response broke off; `version` is the server's ETag or date for the file, empty where it gives none."""

    def __init__(self, version: str):
        super().__init__(version)
        self.version = version


class _Patient(Retry):
    """Retries as urllib3 does, but never waits longer than LONGEST_WAIT_S, whatever the server asks for."""

    def get_retry_after(self, response):
        seconds = super().get_retry_after(response)
        return seconds if seconds is None else min(seconds, LONGEST_WAIT_S)


def _download(url: str, part: Path) -> None:
    """Download a URL, in at most TRIES tries; an interrupted transfer is resumed where the server supports it.

    Raises _Unusable when no try completes the file.
    """
    retries = _Patient(
        TRIES - 1, backoff_factor=0.5, status_forcelist=BUSY, raise_on_status=False, respect_retry_after_header=True
    )
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retries))
            version = ""
            for tries_left in reversed(range(TRIES)):
                try:
                    _receive(session, url, part, version)
                    break
                except _Broken as broken:
                    if not tries_left:
                        raise broken.__cause__ from None
                    console.say(f"{url}: the transfer broke off; trying again")
                    version = broken.version
    except requests.HTTPError as error:
        raise _Unusable(f"the server answered {error.response.status_code} {error.response.reason}") from None
    except requests.Timeout:
        raise _Unusable("the server did not answer in time") from None
    except requests.ConnectionError as error:
        named = {"NameResolution": "the server's name cannot be resolved", "timed out": "the server stopped sending"}
        cause = next((cause for word, cause in named.items() if word in repr(error)), "the connection failed")
        raise _Unusable(cause) from None
    except requests.RequestException as error:
        raise _Unusable(f"the download broke off ({type(error).__name__})") from None
    _refuse_page(part)


def _receive(session: requests.Session, url: str, part: Path, version: str) -> None:
    """Fetch a URL into `part`; append to what is there already if the server still has that `version` of the file.

    Raises _Broken when the response breaks off, and whatever requests raises.
    """
    have = part.stat().st_size if part.exists() and version else 0
    # With compression in transit, a second half would not match the first.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": version} if have else {})
    with session.get(url, stream=True, timeout=TIMEOUT_S, headers=headers) as answer:
        resumed = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        answer.raise_for_status()
        strong = answer.headers.get("etag", "W/")
        version = answer.headers.get("last-modified", "") if strong.startswith("W/") else strong
        left = int(answer.headers.get("content-length", 0)) or None
        bar = tqdm(
            total=left and left + (have if resumed else 0),
            initial=have if resumed else 0,
            unit="B",
            unit_scale=True,
            desc=part.name.split(".")[1],
            file=console.terminal(),
            disable=None,
        )
        with bar, open(part, "ab" if resumed else "wb") as file:
            try:
                for block in answer.iter_content(1 << 16):
                    file.write(block)
                    bar.update(len(block))
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                raise _Broken(version) from error


def _refuse_page(part: Path) -> None:
    with open(part, "rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise _Unusable(
            "the server sent a web page, not the file: it may require a login, or the address is that of a page"
        )


def _check(part: Path, checksum: str | None, source: str) -> None:
    if checksum is None:
        return
    actual = sha256(part)
    if actual != checksum.lower():
        again = "" if is_url(source) else f"; if you replaced the file (trained again), set sha256: {actual}"
        raise _Differs(f"its sha256 is {actual}, not the {checksum} that the config asks for{again}")
