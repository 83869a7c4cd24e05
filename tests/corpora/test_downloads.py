"""One file from a server that does everything wrong in turn."""

from __future__ import annotations

import errno
import http.client
import resource
import ssl

import pytest

from serlab.core import MachineError
from serlab.corpora import downloads
from serlab.corpora.downloads import Download, download

NAME = "clips.zip"
CONTENT = bytes(range(256)) * 1200


@pytest.fixture
def file(server, tmp_path):
    server.content[NAME] = CONTENT
    url = f"{server.address}/{NAME}"
    return Download(
        tmp_path / NAME, url, most=len(CONTENT), size=len(CONTENT), md5=server.md5(NAME), instead="its page"
    )


def unknown_size(file):
    return Download(file.path, file.url, most=2 * len(CONTENT), md5=file.md5, instead="its page")


def nothing_left(file):
    return not list(file.path.parent.iterdir())


def test_a_file_and_its_progress(file, server):
    seen = []
    download(file, seen.append)
    assert file.path.read_bytes() == CONTENT
    assert seen[0] == 0
    assert seen[-1] == len(CONTENT)
    assert seen == sorted(seen)
    assert not file.partial.exists()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", ["known", "unknown"])
def test_what_ends_in_the_middle_is_continued(file, server, ranges, chunked, size):
    server.ranges, server.chunked = ranges, chunked
    server.cut[NAME] = 100_000
    download(file if size == "known" else unknown_size(file))
    assert file.path.read_bytes() == CONTENT
    (_, first), (_, second) = server.asked
    assert first == ""
    # Of a chunk that ends in the middle, the last block is lost.
    assert second == "bytes=100000-" or (chunked and second.startswith("bytes="))


def test_a_killed_call_is_continued(file, server):
    file.partial.write_bytes(CONTENT[:5000])
    seen = []
    download(file, seen.append)
    assert file.path.read_bytes() == CONTENT
    assert server.asked == [(NAME, "bytes=5000-")]
    assert seen[0] == 5000


@pytest.mark.parametrize("left", [CONTENT[:500][::-1], CONTENT[:-1] + b"?", CONTENT + b"more"])
def test_what_is_left_of_another_file_is_begun_again(file, left):
    file.partial.write_bytes(left)
    download(file)
    assert file.path.read_bytes() == CONTENT


def test_a_whole_file_of_unknown_size_that_was_not_renamed(file, server):
    file.partial.write_bytes(CONTENT)
    download(unknown_size(file))
    assert file.path.read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [f"bytes={len(CONTENT)}-", ""]


def test_a_redirect_is_followed(file, server):
    server.moved["old.zip"] = NAME
    old = Download(file.path, f"{server.address}/old.zip", most=len(CONTENT), md5=file.md5)
    download(old)
    assert file.path.read_bytes() == CONTENT


def test_a_redirect_without_end(file, server):
    server.moved[NAME] = NAME
    with pytest.raises(MachineError, match=r"refuses access|cannot be fetched"):
        download(file)
    assert nothing_left(file)


def test_wrong_bytes_are_not_kept(file, server):
    server.wrong.add(NAME)
    with pytest.raises(MachineError, match=r"does not send the official file \(its md5 is \w{32}, not"):
        download(file)
    assert nothing_left(file)
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", ["known", "unknown"])
def test_more_bytes_than_declared(file, server, size):
    server.endless = True
    with pytest.raises(MachineError, match=r"sends more than [\d,]+ bytes, the most that the official file can have"):
        download(file if size == "known" else unknown_size(file))
    assert nothing_left(file)


@pytest.mark.parametrize("kind", ["by its type", "by its content"])
def test_a_login_page_or_a_proxy(file, server, kind):
    if kind == "by its type":
        server.pages.add(NAME)
    else:
        server.content[NAME] = b"\n<HTML>blocked</HTML>"
    with pytest.raises(MachineError, match=r"sends a web page instead of the file .*get the file from its page\."):
        download(unknown_size(file))
    assert nothing_left(file)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (404, r"clips.zip does not exist any more \(HTTP 404\); get it from its page\."),
        (410, r"does not exist any more \(HTTP 410\)"),
        (403, r"refuses access \(HTTP 403\); get it from its page\."),
        (401, r"refuses access \(HTTP 401\)"),
    ],
)
def test_a_refusal_is_not_tried_again(file, server, code, sentence):
    server.answers[NAME] = code
    with pytest.raises(MachineError, match=sentence):
        download(file)
    assert nothing_left(file)
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_tried_again(file, server, code):
    server.answers[NAME] = code
    with pytest.raises(MachineError, match=rf"clips.zip cannot be fetched \(HTTP Error {code}.*run the command again"):
        download(file)
    assert len(server.asked) == 4


def test_no_server(file, tmp_path):
    away = Download(tmp_path / NAME, "http://127.0.0.1:9/clips.zip", most=10)
    with pytest.raises(MachineError, match=r"clips.zip cannot be fetched \(.*refused.*run the command again"):
        download(away)


@pytest.mark.parametrize("fault", [ssl.SSLError(1, "bad record mac"), OSError(errno.EHOSTUNREACH, "No route to host")])
def test_a_network_that_fails_in_the_middle_is_not_blamed_on_the_disk(file, server, monkeypatch, fault):
    read, left = http.client.HTTPResponse.read, [3]

    def failing(answer, amount=None):
        left[0] -= 1
        if left[0] == 0:
            raise fault
        return read(answer, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read", failing)
    download(file)
    assert file.path.read_bytes() == CONTENT
    assert server.asked == [(NAME, ""), (NAME, f"bytes={2 * 2**16}-")]


def test_a_network_that_always_fails(file, monkeypatch):
    def failing(*_):
        raise ssl.SSLError(1, "bad record mac")

    monkeypatch.setattr(http.client.HTTPResponse, "read", failing)
    with pytest.raises(MachineError, match=r"clips.zip cannot be fetched \(.*bad record mac.*; run the command again"):
        download(file)


def test_a_full_disk_keeps_what_is_there(file):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, before[1]))
    try:
        with pytest.raises(MachineError, match=r"cannot write .*clips.zip.part: File too large; free some space"):
            download(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not file.path.exists()
    assert file.there == 70_000
    download(file)
    assert file.path.read_bytes() == CONTENT


def test_a_server_that_hangs(file, server, monkeypatch):
    monkeypatch.setattr(downloads, "_TIMEOUT_SECONDS", 0.05)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = Download(file.path, f"http://127.0.0.1:{silent.getsockname()[1]}/clips.zip", most=10)
        with pytest.raises(MachineError, match=r"clips.zip cannot be fetched \(.*timed out"):
            download(away)
