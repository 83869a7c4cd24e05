from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub.fake import TOKEN, Hub, running


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine, with an empty cache and no token."""
    from huggingface_hub import constants

    with running() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        template = found.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("SERLAB_MODELS", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.chdir(tmp_path)
        yield found


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    """A token that may write to ``me/...``."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return TOKEN
