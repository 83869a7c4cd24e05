from __future__ import annotations

import json
import sys

import pytest
import typer
import yaml

from serlab.cli import data
from serlab.corpora import fetching


def test_verifying_a_corpus_that_lacks_nearly_everything(serlab, tmp_path, make_tone):
    make_tone(tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav", seconds=1.5)
    make_tone(tmp_path / "AudioWAV" / "holiday.wav")
    ended = serlab("data", "verify", "crema-d", "--data", tmp_path)
    assert ended.code == 1
    assert "missing: 7441" in ended.out
    assert "extra: 1" in ended.out
    assert ended.out.splitlines()[-1] == "problems found: see above"
    found = serlab("data", "verify", "crema-d", "--data", tmp_path, "--format", "json")
    assert found.code == 1
    assert len(json.loads(found.out)["missing"]) == 7441


@pytest.mark.cremad
@pytest.mark.slow
def test_verifying_the_development_copy(serlab, cremad_root):
    ended = serlab("data", "verify", "crema-d", "--data", cremad_root)
    assert "7442 of 7442 clips present" in ended.out
    assert "11,025 Hz" in ended.out


def test_describing_a_folder(serlab, tmp_path, make_tone):
    for name in ("p1_happy", "p1_sad", "p2_happy", "p2_sad"):
        make_tone(tmp_path / f"{name}.wav")
    ended = serlab("data", "describe", tmp_path)
    assert ended.code == 0
    assert yaml.safe_load(ended.out)["speakers"] == 2


def test_the_licence_is_accepted_before_the_first_byte(serlab, tmp_path):
    for name, shown in (
        ("crema-d", ["CREMA-D: 7,442 files, 605.9 MB", "Open Database License"]),
        ("ravdess", ["RAVDESS: 1 archive, 208.5 MB", "from: https://zenodo.org/records/1188976/", "NonCommercial"]),
        (
            "nemo",
            ["nEMO: 1 archive, up to 558.4 MB", "from: https://github.com/amu-cai/nEMO/", "NonCommercial"],
        ),
    ):
        ended = serlab("data", "get", name, "--data", tmp_path / name, "--dry-run")
        assert ended.code == 0
        for words in shown:
            assert words in ended.out
        refused = serlab("data", "get", name, "--data", tmp_path / name)
        assert refused.code == 2
        assert "if you accept it, add --accept-licence" in refused.sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("yes", [True, False])
def test_on_a_terminal_the_licence_is_asked_for(serlab, tmp_path, monkeypatch, yes):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(data, "sys", type("sys", (), {"stdin": Terminal()}))
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: yes)
    monkeypatch.setattr(fetching, "get", lambda _: 1440)
    ended = serlab("data", "get", "ravdess", "--data", tmp_path)
    assert ended.code == (0 if yes else 2)
    assert ("all 1,440 files are the official ones" in ended.out) == yes
    assert sys.stdin is not None


def test_a_corpus_that_is_not_known(serlab):
    assert "did you mean 'ravdess'" in serlab("data", "get", "ravdes").sentence


def test_a_corpus_that_needs_a_form(serlab, tmp_path):
    ended = serlab("data", "get", "msp-podcast", "--data", tmp_path)
    assert ended.code == 2
    assert "its owners want a signed agreement first; get it from https://ecs.utdallas.edu" in ended.sentence
    assert ended.sentence.endswith("and give its folder as --data.")
