"""What an encoder has heard is read, however much it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from serlab.core import UserError
from serlab.core.files import write_json
from serlab.model.schema import HEARD
from serlab.training import encoder_folder
from serlab.training.encoder_folder import heard_by


def test_a_record_of_many_recordings_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Common Voice has more than a configuration may hold."""
    digest = hashlib.sha256(b"").hexdigest()
    clips = {f"clips/common_voice_en_{number:08d}.mp3": digest for number in range(620_000)}
    write_json(tmp_path / HEARD, {"format": 1, "speech": [{"name": "cv", "speakers": None, "sha256": clips}]})
    assert (tmp_path / HEARD).stat().st_size > 64 * 2**20
    (found,) = heard_by(tmp_path) or ()
    assert len(found["sha256"]) == 620_000
    monkeypatch.setattr(encoder_folder, "_MOST_HEARD_BYTES", 1000)
    with pytest.raises(UserError, match="is larger than 0 MiB"):
        heard_by(tmp_path)
