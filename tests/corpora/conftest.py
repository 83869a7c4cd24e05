"""A local fake of a file server and of a Git LFS server, with ranges, faults and wrong bytes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serlab.corpora import downloads

PAGE = b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>"


@dataclass
class Server:
    """What it has, what it does wrong, and what it was asked."""

    content: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    answers: dict[str, int] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    broken: int = 0
    ranges: bool = True
    chunked: bool = False
    endless: bool = False
    key: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.content[name]).hexdigest()

    def md5(self, name: str) -> str:
        return hashlib.md5(self.content[name]).hexdigest()


class Handler(BaseHTTPRequestHandler):
    state: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, code: int, body: bytes, kind: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.in_chunks = self.state.chunked and code == 200
        if self.in_chunks:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def send(self, body: bytes, chunks_end: bool = True) -> None:
        if not self.in_chunks:
            self.wfile.write(body)
            return
        self.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))
        if chunks_end:
            self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        state = self.state
        assert self.path == "/info/lfs/objects/batch"
        assert self.headers["Accept"] == "application/vnd.git-lfs+json"
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert question["operation"] == "download"
        if state.broken:
            state.broken -= 1
            self.reply(503, b"busy")
            self.send(b"busy")
            return
        names = {state.sha256(name): name for name in state.content}
        objects = []
        for each in question["objects"]:
            name = names[each["oid"]]
            assert each["size"] == len(state.content[name])
            action = {"href": f"{state.address}/{name}", "header": {"X-Key": state.key}}
            fault = {"error": {"code": 403, "message": "over its data quota"}}
            objects.append({**each, **(fault if name in state.refused else {"actions": {"download": action}})})
        body = json.dumps({"transfer": "basic", "objects": objects}).encode()
        self.reply(200, body)
        self.send(body)

    def do_GET(self) -> None:
        state = self.state
        name = self.path.strip("/")
        assert self.headers["X-Key"] == (state.key or None)
        assert self.headers["User-Agent"].startswith("serlab/")
        asked = self.headers["Range"] or ""
        state.asked.append((name, asked))
        if name in state.moved:
            self.reply(302, b"", Location=f"{state.address}/{state.moved[name]}")
            return
        if name in state.answers:
            self.reply(state.answers[name], b"")
            return
        if name in state.pages:
            self.reply(200, PAGE, "text/html; charset=utf-8")
            self.send(PAGE)
            return
        content = state.content[name]
        if name in state.wrong:
            content = content[::-1][:-1] + b"!"
        if state.endless:
            content = content * 3
        start = int(asked[6:-1]) if asked and state.ranges else 0
        if start >= len(content):
            self.reply(416, b"")
            return
        body = content[start:]
        self.reply(206 if start else 200, body)
        if name in state.cut:
            self.close_connection = True
            self.send(body[: state.cut.pop(name)], chunks_end=False)
        else:
            self.send(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    monkeypatch.setattr(downloads, "_PAUSE_SECONDS", 0)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Handler,), {"state": state}))
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()
