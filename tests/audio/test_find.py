from __future__ import annotations

from pathlib import Path

import pytest

from serlab import audio
from serlab.audio import AudioError
from serlab.core import UserError


def test_finding_audio(tmp_path):
    for name in ("b/2.wav", "b/1.FLAC", "a.mp3", "notes.txt", ".hidden.wav", ".cache/3.wav", "odd.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert audio.find_audio([tmp_path]) == [f"{tmp_path}/{name}" for name in ("a.mp3", "b/1.FLAC", "b/2.wav")]
    assert audio.find_audio([tmp_path / "odd.bin", tmp_path / "b/2.wav", tmp_path]) == [
        f"{tmp_path}/{name}" for name in ("odd.bin", "b/2.wav", "a.mp3", "b/1.FLAC")
    ]


def test_files_are_found_as_pathlib_sorts_and_names_them(tmp_path, monkeypatch):
    names = ("b/x.wav", "b-1.wav", "b.wav", "B/x.wav", "a b/1.ogg", "b/folder.wav/2.wav", "b/x/1.opus")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.wav").symlink_to("nothing")
    (tmp_path / "c.wav").symlink_to("b.wav")
    (tmp_path / "round").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    expected = [str(path) for path in sorted(Path(name) for name in (*names, "c.wav", "loop.wav"))]
    assert audio.find_audio([Path()]) == expected
    with pytest.raises(AudioError, match="symbolic links"):
        audio.read(Path("loop.wav"))


def test_finding_nothing(tmp_path):
    with pytest.raises(UserError, match="holds no audio"):
        audio.find_audio([tmp_path])
    with pytest.raises(UserError, match="there is no file or folder"):
        audio.find_audio([tmp_path / "none"])
