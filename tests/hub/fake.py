"""A small Hugging Face hub on this machine: revisions, gates, tokens, uploads and broken downloads."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

TOKEN = "hf_writer"


@dataclass
class Repository:
    files: dict[str, bytes] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    history: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        content = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.history[content] = dict(files)
        self.revisions[branch] = content
        self.files = files
        return content


@dataclass
class Hub:
    """What tests see: its repositories, its address, the requests, and what is to go wrong."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    address: str = ""
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    refuses_uploads: bool = False
    breaks_after: int | None = None
    """Bytes of a weight file after which the connection breaks, once."""

    def add(self, name: str, files: dict[str, bytes], **how: bool) -> Repository:
        self.repositories[name] = Repository(**how)
        self.repositories[name].commit(files)
        return self.repositories[name]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        if path == "/api/whoami-v2":
            if self._token() == TOKEN:
                self._json({"name": "me", "type": "user", "auth": {"accessToken": {"role": "write"}}})
            else:
                self._fail(401, message="Invalid credentials in Authorization header")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._about(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self._tree(found[1], found[2])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*found.groups())
        else:
            self._fail(404)

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        self.hub.requests.append(f"PUT {self.path}")
        body = self._body()
        if self.hub.refuses_uploads:
            self._fail(503)
            return
        self.hub.blobs[hashlib.sha256(body).hexdigest()] = body
        self._send(200, b"")

    def do_POST(self) -> None:
        self.hub.requests.append(f"POST {self.path}")
        path, body = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self._token() != TOKEN:
            self._fail(401, message="Invalid credentials in Authorization header")
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if not name.startswith("me/"):
                self._fail(403, message="You don't have the rights to create a model under this namespace")
            elif name in self.hub.repositories:
                self._json({"url": f"{self.hub.address}/{name}"}, 409)
            else:
                self.hub.repositories[name] = Repository(private=bool(asked.get("private")))
                self._json({"url": f"{self.hub.address}/{name}", "id": name})
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.hub.address}/upload/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._fail(404)

    def _commit(self, name: str, operations: list[dict]) -> None:
        repository = self.hub.repositories[name]
        files = dict(repository.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        content = repository.commit(files)
        self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{content}", "commitOid": content})

    def _allowed(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self._token() != TOKEN):
            self._fail(401 if self._token() is None else 404, code="RepoNotFound")
            return None
        if self._token() not in (None, TOKEN):
            self._fail(401, message="Invalid credentials in Authorization header")
            return None
        return repository

    def _about(self, name: str, revision: str) -> None:
        if (repository := self._allowed(name)) is None:
            return
        content = repository.revisions.get(revision, revision if revision in repository.history else None)
        if content is None:
            self._fail(404, code="RevisionNotFound")
            return
        self._json({"id": name, "modelId": name, "sha": content, "siblings": [], "tags": [], "private": False})

    def _tree(self, name: str, revision: str) -> None:
        if (repository := self._allowed(name)) is None:
            return
        files = repository.history[repository.revisions.get(revision, revision)]
        self._json(
            [
                {
                    "type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest(),
                    **({"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}
                       if _large(path) else {}),
                }
                for path, content in files.items()
            ]
        )  # fmt: skip

    def _file(self, name: str, revision: str, path: str) -> None:
        if (repository := self._allowed(name)) is None:
            return
        if repository.gated and self._token() is None:
            self._fail(401, code="GatedRepo", message=f"Access to model {name} is restricted.")
            return
        content = repository.history[repository.revisions.get(revision, revision)][path]
        digest = hashlib.sha256(content) if _large(path) else hashlib.sha1(content)
        start = 0
        if asked := self.headers.get("Range"):
            self.hub.ranges.append(asked)
            start = int(re.fullmatch(r"bytes=(\d+)-\d*", asked)[1])  # type: ignore[index]
        part = content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{digest.hexdigest()}"')
        self.send_header("X-Repo-Commit", repository.revisions.get(revision, revision))
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.breaks_after is not None and _large(path):
            self.wfile.write(part[: self.hub.breaks_after])
            self.hub.breaks_after = None
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(part)

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, *, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, b"{}", {name: value for name, value in headers.items() if value})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


@contextmanager
def running() -> Iterator[Hub]:
    """Serve a hub on a free port while the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
