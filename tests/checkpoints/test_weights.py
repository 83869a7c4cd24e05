from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from serlab.checkpoints import weights
from serlab.checkpoints.weights import find, identity, quiet, settings_identity
from serlab.core import MachineError, UserError
from serlab.core.files import sha256_file


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Hide the developer's own checkpoints and the hub."""
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def put(folder, *files):
    folder.mkdir(parents=True)
    for name in files or ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_a_folder_is_taken_as_given(tmp_path):
    folder = put(tmp_path / "mine")
    assert find(str(folder)) == folder


@pytest.mark.parametrize("name", ["whisper-base", "whisper-base-encoder"])
def test_checkpoints_are_found_by_name_below_the_shelf(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SERLAB_MODELS", str(tmp_path / "shelf"))
    folder = put(tmp_path / "shelf" / name)
    assert find("openai/whisper-base") == find("whisper-base") == folder


def test_the_plain_name_wins_over_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLAB_MODELS", str(tmp_path))
    put(tmp_path / "whisper-base-encoder")
    plain = put(tmp_path / "whisper-base")
    assert find("openai/whisper-base") == plain


def test_a_folder_without_weights_is_not_taken(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no weights.*model\.safetensors"):
        find(str(put(tmp_path / "empty", "config.json")))
    with pytest.raises(UserError, match=r"no config\.json"):
        find(str(put(tmp_path / "other", "model.safetensors")))
    monkeypatch.setenv("SERLAB_MODELS", str(tmp_path))
    with pytest.raises(UserError, match="no weights"):
        find("openai/empty")


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "~/absent"])
def test_a_path_is_never_looked_for_on_the_hub(name):
    with pytest.raises(UserError, match="there is no model folder"):
        find(name)


def test_the_package_brings_an_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("SERLAB_MODELS", str(put(tmp_path / "shelf" / "wav2vec2-small").parent))
    assert find("serlab/wav2vec2-small") == weights.PACKAGED / "wav2vec2-small"
    assert weights.public_name("serlab/wav2vec2-small") == "serlab/wav2vec2-small"
    with pytest.raises(UserError, match=r"no encoder serlab/wav2vec2-smal \(it holds serlab/wav2vec2-small\)"):
        find("serlab/wav2vec2-smal")
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "serlab" / "wav2vec2-small")
    assert find("./serlab/wav2vec2-small").samefile(tmp_path / "serlab" / "wav2vec2-small")


def test_without_a_hub_the_sentence_says_what_to_do():
    with pytest.raises(MachineError) as caught:
        find("facebook/wav2vec2-base")
    for phrase in ("facebook/wav2vec2-base", "$SERLAB_MODELS/wav2vec2-base", "model.checkpoint=FOLDER"):
        assert phrase in str(caught.value)


def test_a_folder_of_the_checkpoint_s_name_that_is_here_is_named(tmp_path, monkeypatch):
    put(tmp_path / "wav2vec2-base")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        MachineError, match=r"the current folder has a folder wav2vec2-base.*model\.checkpoint=\./wav2vec2-base\."
    ):
        find("facebook/wav2vec2-base")
    assert str(find("wav2vec2-base")) == "wav2vec2-base"


@pytest.mark.parametrize("error", [RepositoryNotFoundError, HFValidationError])
def test_a_name_that_no_hub_knows_is_the_users_mistake(monkeypatch, error):
    def answer(*args, **how):
        if error is HFValidationError:
            raise HFValidationError("bad name")
        raise RepositoryNotFoundError("no such repository", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr("huggingface_hub.snapshot_download", answer)
    with pytest.raises(UserError, match="no model some/thing"):
        find("some/thing")


def test_downloads_from_the_hub_are_checked(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **how: str(put(tmp_path / "a", "x.json")))
    with pytest.raises(UserError, match=r"no config\.json"):
        find("some/thing")


def test_identity_is_that_of_the_weights_in_any_place(tmp_path):
    one = put(tmp_path / "one")
    (one / "model.safetensors").write_bytes(b"weights")
    other = tmp_path / "elsewhere" / "other"
    shutil.copytree(one, other)
    (other / "config.json").write_text('{"a": 1}')
    assert identity(one) == identity(other) == sha256_file(one / "model.safetensors")
    (other / "model.safetensors").write_bytes(b"other weights")
    assert identity(other) == sha256_file(other / "model.safetensors") != identity(one)


def test_quiet_restores_the_settings():
    from transformers.utils import logging

    logging.set_verbosity_info()
    try:
        with quiet():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()


def test_sharded_checkpoints_of_other_values_are_others(tmp_path):
    for name, values in (("one", b"1"), ("same", b"1"), ("other", b"2")):
        folder = put(tmp_path / name, "config.json")
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors", "b": "../x"}}')
        (folder / "1.safetensors").write_bytes(values)
        (folder / "unused.safetensors").write_text(name)
    one, same, other = (identity(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other
    (tmp_path / "same" / "1.safetensors").write_bytes(b"other values")
    assert identity(tmp_path / "same") != one


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "encoder/processor_config.json"])
def test_settings_are_those_beside_the_weights(tmp_path, name):
    folder = put(tmp_path / "mine")
    (folder / "encoder").mkdir()
    before = settings_identity(folder), identity(folder)
    (folder / "heard.json").write_text("{}")
    assert settings_identity(folder) == before[0]
    (folder / name).write_text('{"do_normalize": true}')
    assert settings_identity(folder) != before[0]
    assert identity(folder) == before[1]
