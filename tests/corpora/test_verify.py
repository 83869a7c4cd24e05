from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from serlab.corpora import descriptions
from serlab.corpora.described import official_clips
from serlab.corpora.verify import verify

CREMA_D = descriptions()["crema-d"]


def test_a_faulty_copy(tmp_path, make_tone):
    for clip in official_clips(CREMA_D)["clip"][:3]:
        make_tone(tmp_path / f"{clip}.flac", rate=11025)
    cut = tmp_path / "1001_DFA_DIS_XX.flac"
    cut.write_bytes(cut.read_bytes()[:-300])
    make_tone(tmp_path / "1001_DFA_ANG_XX (copy).flac")
    soundfile.write(tmp_path / "1076_MTI_SAD_XX.flac", np.zeros(8000), 11025)
    found = verify("crema-d", tmp_path)
    assert (found.clips, found.present, len(found.missing), found.official) == (7442, 4, 7438, False)
    assert [(exclusion.clip, exclusion.reason.split()[0]) for exclusion in found.corrupt] == [
        ("1001_DFA_DIS_XX", "truncated")
    ]
    assert [exclusion.clip for exclusion in found.known_faults] == ["1076_MTI_SAD_XX"]
    assert found.extra == [str(tmp_path / "1001_DFA_ANG_XX (copy).flac")]
    assert len(found.differing) == 4
    assert not found.ok
    told = json.loads(json.dumps(found.as_dict()))
    assert told["ok"] is False
    assert told["corrupt"][0]["clip"] == "1001_DFA_DIS_XX"


def complete(found, **changes):
    """Return the result if nothing were missing."""
    return replace(found, missing=[], **changes)


@pytest.mark.cremad
def test_official_files_and_one_that_was_changed(cremad_root, tmp_path):
    found = verify("crema-d", cremad_root / "original_16khz")
    assert found.official
    assert found.differing == []
    assert found.corrupt == []
    assert len(found.missing) == 7424
    assert not found.ok
    assert complete(found).ok

    for file in (cremad_root / "original_16khz").iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    changed = tmp_path / "1001_DFA_ANG_XX.wav"
    changed.write_bytes(changed.read_bytes()[:-2] + b"\x01\x01")
    found = verify("crema-d", tmp_path)
    assert found.differing == ["1001_DFA_ANG_XX"]
    assert not found.official
    assert not complete(found).ok


@pytest.mark.cremad
@pytest.mark.slow
def test_a_whole_copy_that_is_not_the_official_one(cremad_root):
    found = verify("crema-d", cremad_root)
    assert found.ok
    assert found.official is False
    assert len(found.differing) == found.present == found.clips == 7442
    assert found.missing == found.extra == found.corrupt == []
    assert [(known.clip, known.reason) for known in found.known_faults] == [("1076_MTI_SAD_XX", "silent")]
    assert "11,025 Hz" in found.copy


def test_a_corpus_of_the_user_has_no_official_list(tmp_path, make_tone):
    make_tone(tmp_path / "joy/1.wav")
    make_tone(tmp_path / "rage/1.wav")
    assert verify(str(tmp_path)).ok
    (tmp_path / "rage/2.wav").touch()
    found = verify(str(tmp_path))
    assert found.official is None
    assert [exclusion.reason for exclusion in found.corrupt] == ["empty file"]
    assert not found.ok


def test_entries_that_are_not_clips_are_problems(tmp_path, make_tone):
    for name in ("joy/1.wav", "rage/1.wav"):
        make_tone(tmp_path / name)
    assert verify(str(tmp_path)).ok
    make_tone(tmp_path / "rage/.2.wav")
    found = verify(str(tmp_path))
    assert not found.ok
    assert found.as_dict()["left_out"] == [
        {"clip": "rage/.2.wav", "path": str(tmp_path / "rage/.2.wav"), "reason": "hidden (its name begins with a dot)"}
    ]
