"""Fetching from a Git LFS server, a local fake with ranges, faults and wrong bytes."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from serlab.core import MachineError, UserError
from serlab.corpora import descriptions, fetching
from serlab.corpora.description import Fetch

CONTENT = {f"{number}_DFA_ANG_XX.wav": bytes([number % 256]) * (1000 + number) for number in range(1001, 1046)}
SHA = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


@dataclass
class Server:
    """What the fake does wrong, and what it was asked."""

    cut: dict[str, int] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    broken: int = 0
    ranges: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def server(monkeypatch):
    state = Server()
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def reply(self, code, body, **headers):
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def do_POST(self):
            assert self.path == "/info/lfs/objects/batch"
            assert self.headers["Accept"] == "application/vnd.git-lfs+json"
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert question["operation"] == "download"
            if state.broken:
                state.broken -= 1
                self.wfile.write(self.reply(503, b"busy"))
                return
            names = {SHA[name]: name for name in CONTENT}
            objects = []
            for each in question["objects"]:
                name = names[each["oid"]]
                assert each["size"] == len(CONTENT[name])
                action = {"href": f"{state.address}/{name}", "header": {"X-Key": "k"}}
                fault = {"error": {"code": 403, "message": "over its data quota"}}
                objects.append({**each, **(fault if name in state.refused else {"actions": {"download": action}})})
            self.wfile.write(self.reply(200, json.dumps({"transfer": "basic", "objects": objects}).encode()))

        def do_GET(self):
            name = self.path.strip("/")
            assert self.headers["X-Key"] == "k"
            asked = self.headers["Range"] or ""
            state.asked.append((name, asked))
            content = CONTENT[name]
            if name in state.wrong:
                content = content[::-1][:-1] + b"!"
            start = int(asked[6:-1]) if asked and state.ranges else 0
            body = self.reply(206 if start else 200, content[start:])
            if name in state.cut:
                body = body[: state.cut.pop(name)]
                self.close_connection = True
            self.wfile.write(body)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def known(server, monkeypatch):
    rows = [{"clip": name[:-4], "file": name, "sha256": SHA[name], "bytes": len(CONTENT[name])} for name in CONTENT]
    monkeypatch.setattr(fetching, "official_clips", lambda _: pd.DataFrame(rows))
    return replace(descriptions()["crema-d"], fetch=Fetch(f"{server.address}/info/lfs", "AudioWAV"))


def get(known, folder):
    files, _ = fetching.wanted(known, folder)
    fetching.get(known, files)


def complete(folder):
    there = {path.name: path.read_bytes() for path in (folder / "AudioWAV").iterdir()}
    return there == CONTENT


def test_a_whole_corpus_and_nothing_again(known, server, tmp_path):
    files, there = fetching.wanted(known, tmp_path)
    assert (len(files), there) == (45, 0)
    get(known, tmp_path)
    assert complete(tmp_path)
    assert len(server.asked) == 45
    assert fetching.wanted(known, tmp_path) == ([], 45)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_ends_in_the_middle_is_continued(known, server, tmp_path, ranges):
    server.ranges = ranges
    server.cut["1003_DFA_ANG_XX.wav"] = 700
    get(known, tmp_path)
    assert complete(tmp_path)
    assert ("1003_DFA_ANG_XX.wav", "bytes=700-") in server.asked


def test_what_an_earlier_call_left_is_continued(known, server, tmp_path):
    name = "1004_DFA_ANG_XX.wav"
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / f"{name}.part").write_bytes(CONTENT[name][:500])
    get(known, tmp_path)
    assert complete(tmp_path)
    assert [asked for file, asked in server.asked if file == name] == ["bytes=500-"]


def test_wrong_bytes_are_not_kept(known, server, tmp_path):
    server.wrong.add("1005_DFA_ANG_XX.wav")
    with pytest.raises(MachineError, match=r"1005_DFA_ANG_XX.wav cannot be fetched \(its bytes are not the official"):
        get(known, tmp_path)
    assert not list((tmp_path / "AudioWAV").glob("1005*"))
    server.wrong.clear()
    get(known, tmp_path)
    assert complete(tmp_path)


def test_a_busy_server_is_asked_again_and_a_refusal_named(known, server, tmp_path):
    server.broken = 2
    get(known, tmp_path / "a")
    assert complete(tmp_path / "a")
    server.refused.add("1006_DFA_ANG_XX.wav")
    with pytest.raises(MachineError, match=r"does not give a file .over its data quota.; try again later"):
        get(known, tmp_path / "b")


def test_no_server(known, tmp_path):
    away = replace(known, fetch=Fetch("http://127.0.0.1:9/info/lfs", "AudioWAV"))
    with pytest.raises(MachineError, match=r"cannot be fetched \(.*refused.*run the command again"):
        get(away, tmp_path)


def test_a_full_disk(known, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_append", full)
    with pytest.raises(MachineError, match="No space left on device; free some space"):
        get(known, tmp_path)


def test_a_users_own_files_are_not_overwritten(known, tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"first .*1001_DFA_ANG_XX.wav.; choose another folder"):
        fetching.wanted(known, tmp_path)


def test_other_corpora_say_where_they_are(tmp_path):
    with pytest.raises(UserError, match=r"serlab cannot get IEMOCAP; get it from https://sail.usc.edu.*release form"):
        fetching.wanted(descriptions()["iemocap"], tmp_path)


def test_the_command_needs_the_licence_accepted(serlab, tmp_path):
    ended = serlab("data", "get", "crema-d", "--data", str(tmp_path), "--dry-run")
    assert ended.code == 0
    assert "CREMA-D: 7,442 files, 605.9 MB" in ended.out
    assert "Open Database License" in ended.out
    refused = serlab("data", "get", "crema-d", "--data", str(tmp_path))
    assert refused.code == 2
    assert "if you accept it, add --accept-licence" in refused.err
    assert not list(tmp_path.iterdir())
