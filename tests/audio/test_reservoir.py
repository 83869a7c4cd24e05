"""The check of MP3 frames finds the same in blocks of any size, and has no largest number of frames."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from serlab.audio import info, mpeg, reservoir
from serlab.audio.reservoir import HEAD, Reservoir
from serlab.audio.source import FaultError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("mp3") / "a.mp3"
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    how = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.9}
    soundfile.write(path, np.concatenate([noise, noise / 50, noise]), 16000, **how)
    return path


@pytest.fixture(scope="module")
def frames(path):
    content, found, at = path.read_bytes(), [], 0
    while at < len(content):
        header = mpeg.frame(content[at : at + 4])
        found.append((content[at : at + HEAD], header.length, header))
        at += header.length
    return found[1:]  # The first one holds the tag.


def verdict(frames, block, monkeypatch) -> str:
    monkeypatch.setattr(reservoir, "_BLOCK", block)
    header = frames[0][2]
    found = Reservoir(header.side, *header.stream[2:])
    for head, length, _ in frames:
        found.add(head, length)
    try:
        found.check()
    except FaultError as fault:
        return str(fault)
    return ""


def test_blocks_of_any_size_find_the_same(frames, monkeypatch):
    assert len(frames) > 40
    found = set()
    for gone in (None, *range(1, len(frames) - 1)):
        left = [frame for place, frame in enumerate(frames) if place != gone]
        whole = verdict(left, 4096, monkeypatch)
        assert {verdict(left, block, monkeypatch) for block in (1, 7, len(left))} == {whole}
        found.add(whole)
        assert gone is not None or not whole
    assert found == {"", "damaged: MPEG frames are missing, changed or out of place"}


def test_a_recording_of_days_has_more_frames_than_other_files_may_have_pieces(path, monkeypatch):
    monkeypatch.setattr("serlab.audio.source._MOST_PIECES", 10)
    assert info(path).fault == ""
