"""Downloads survive what networks do: busy servers, cut and stalled transfers; a web page is no file."""

import http.server
import threading

import pytest

from lib.data import download
from lib.data.download import fetch
from lib.step.errors import UserError

CONTENT = bytes(range(256)) * 4000


class Server:
    """Answers by a list of acts, one a request, then as an honest server; keeps the requests' headers."""

    def __init__(self):
        self.acts, self.requests, self.ranges, self.etag = [], [], True, '"one"'

    def answer(self, handler):
        self.requests.append(dict(handler.headers))
        act = self.acts.pop(0) if self.acts else "whole"
        if isinstance(act, int):
            handler.send_response(act)
            handler.send_header("Retry-After", "0")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        wanted = handler.headers.get("Range") if self.ranges else None
        same = handler.headers.get("If-Range") == self.etag
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and same else 0
        body = b"<!DOCTYPE html><p>Log in" if act == "page" else CONTENT[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if act in ("cut", "stall") else body)
        if act == "stall":
            self.go_on.wait(10)


@pytest.fixture
def server(monkeypatch):
    """A server on this machine, and its address."""
    server = Server()
    server.go_on = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        def log_message(self, *args):
            pass

    monkeypatch.setattr(download, "TIMEOUT_S", (2, 1))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{httpd.server_port}/file.zip"
        yield server
        server.go_on.set()
        httpd.shutdown()


@pytest.mark.parametrize("acts", [[429], [503, 503], ["cut"], ["cut", "cut"], ["stall"], [503, "cut"]])
def test_what_networks_do_is_survived(server, tmp_path, acts):
    server.acts = list(acts)
    assert fetch([server.url], tmp_path / "file", None, "key") == server.url
    assert (tmp_path / "file").read_bytes() == CONTENT and len(server.requests) == len(acts) + 1


def test_a_cut_transfer_is_resumed_where_it_broke_off(server, tmp_path):
    server.acts = ["cut"]
    fetch([server.url], tmp_path / "file", None, "key")
    start = int(server.requests[1]["Range"].removeprefix("bytes=").removesuffix("-"))
    assert len(CONTENT) // 2 - (1 << 16) < start <= len(CONTENT) // 2  # what has come in whole blocks
    assert server.requests[1]["If-Range"] == '"one"' and (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["no ranges", "another file"])
def test_what_cannot_be_resumed_is_begun_anew(server, tmp_path, change):
    server.acts = ["cut"]
    server.ranges = change != "no ranges"
    answer = server.answer

    def changing(handler):
        answer(handler)
        server.etag = '"two"' if change == "another file" else server.etag

    server.answer = changing
    fetch([server.url], tmp_path / "file", None, "key")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("acts", "reason"),
    [
        ([503] * 9, "the server answered 503"),
        (["cut"] * 9, "the download broke off (ChunkedEncodingError)"),
        (["stall"] * 9, "the server stopped sending"),
        ([404], "the server answered 404"),
        (["page"], "the server sent a web page, not the file"),
    ],
)
def test_three_tries_are_all_and_leave_nothing(server, tmp_path, acts, reason):
    server.acts = list(acts)
    with pytest.raises(UserError, match="could not be fetched from any source") as error:
        fetch([server.url], tmp_path / "out" / "file", None, "key")
    assert reason in str(error.value)
    assert len(server.requests) == (3 if len(acts) > 1 else 1)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_copy_with_other_bytes_is_not_asked_for_once_more(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"trained again")
    with pytest.raises(UserError, match=r"if you replaced the file .*, set sha256: ") as error:
        fetch([str(tmp_path / "a.pt")], tmp_path / "out", "0" * 64, "key")
    assert "put a copy" not in str(error.value)
    with pytest.raises(UserError, match="put a copy on this machine and name its path in the config under key"):
        fetch([str(tmp_path / "b.pt")], tmp_path / "out", "0" * 64, "key")


def test_no_server_waits_longer_than_a_minute(server, tmp_path):
    from urllib3.response import HTTPResponse

    patient = download._Patient(2)
    assert patient.get_retry_after(HTTPResponse(headers={"Retry-After": "3600"})) == download.LONGEST_WAIT_S
    assert patient.get_retry_after(HTTPResponse(headers={})) is None
