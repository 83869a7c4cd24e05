"""Models and checkpoints from the hub: one command, resumed downloads, one sentence for each way to fail."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from tests.hub.fake import TOKEN

from serlab import load_model
from serlab.checkpoints import weights
from serlab.core import MachineError, UserError


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def model(hub, tiny_models):
    return hub.add("me/small", files_of(tiny_models["tiny-resnet"]))


def sentence(hub, name: str, kind: type[Exception] = UserError) -> str:
    with pytest.raises(kind) as found:
        load_model(name)
    return str(found.value)


def test_a_broken_download_goes_on_where_it_stopped(hub, model, monkeypatch, tiny_models) -> None:
    # Files are written in pieces of this size.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    hub.breaks_after = 10_000
    assert load_model("me/small").labels == load_model(tiny_models["tiny-resnet"]).labels
    assert hub.breaks_after is None
    (asked,) = hub.ranges
    assert 5000 < int(asked.removeprefix("bytes=").rstrip("-")) <= 10_000


def test_complete_files_are_not_downloaded_again(hub, model) -> None:
    model.commit({name: content for name, content in model.files.items() if name != "model.safetensors"}, "partial")
    model.files = model.history[model.revisions["main"]]
    assert "has no weights" in sentence(hub, "me/small@partial")
    hub.requests.clear()
    assert load_model("me/small").labels
    fetched = [asked.rpartition("/")[2] for asked in hub.requests if asked.startswith("GET /me/small/resolve")]
    assert fetched == ["model.safetensors"]


def test_a_second_time_needs_no_network(hub, model, monkeypatch) -> None:
    first = load_model("me/small")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert load_model("me/small").folder == first.folder


def test_a_revision_is_fetched_by_its_name(hub, model, tiny_models) -> None:
    model.commit(files_of(tiny_models["mfcc-svm"]), "v2")
    assert load_model("me/small@v2").precision == "fp64"
    assert load_model("me/small", precision="fp32").precision == "fp32"


def test_ways_to_fail(hub, model, monkeypatch) -> None:
    assert sentence(hub, "me/small@v9") == "the hub's model me/small has no revision v9; check it, or omit @v9."
    login = "log in with hf auth login, or set HF_TOKEN"
    assert sentence(hub, "me/absent") == (
        f"the hub has no model me/absent; check the name, and if it is private, {login}."
    )
    model.gated = True
    assert sentence(hub, "me/small") == (
        f"the hub's model me/small is gated: accept its terms on its page, and {login}."
    )
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert sentence(hub, "me/small") == (
        "the hub refuses your token; log in again with hf auth login, or set another HF_TOKEN."
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load_model("me/small").labels


def test_no_network(hub, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert sentence(hub, "me/small", MachineError) == (
        "me/small was not downloaded before, and the hub cannot be reached: go online and try again."
    )


def test_a_local_path_never_asks_the_hub(hub, tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("runs/model", "./runs/model", "model", str(tmp_path / "a" / "b")):
        assert re.fullmatch(r"there is no model folder .*\.", sentence(hub, name))
    assert hub.requests == []


def test_only_files_of_a_model_are_fetched(hub, model) -> None:
    model.commit({**model.files, "code.py": b"1 / 0", "model.pkl": b"x", "weights.h5": b"x"})
    folder = load_model("me/small").folder
    assert not {"code.py", "model.pkl", "weights.h5"} & {path.name for path in folder.iterdir()}


@pytest.fixture
def wav2vec2_base(hub, tiny_checkpoint) -> None:
    """A random checkpoint laid out as facebook/wav2vec2-base: a PyTorch file with the old names of weight norms."""
    from safetensors.torch import load_file

    files = files_of(tiny_checkpoint)
    state = load_file(tiny_checkpoint / "model.safetensors")
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in state.items()
    }
    assert {name.rpartition(".")[2] for name in old} >= {"weight_g", "weight_v"}
    path = tiny_checkpoint.parent / "pytorch_model.bin"
    torch.save(old, path)
    del files["model.safetensors"]
    hub.add("facebook/wav2vec2-base", {**files, "pytorch_model.bin": path.read_bytes(), "README.md": b"# wav2vec 2"})


@pytest.mark.slow
def test_wav2vec2_base_is_fetched_in_one_command(
    serlab_process, hub, wav2vec2_base, tiny_checkpoint, tiny_corpus, tmp_path
) -> None:
    ended = serlab_process(
        "train", tiny_corpus, "--recipe", "wav2vec2-base", "--protocol", "speaker-2",
        "--set", "training.epochs=1", "--set", "model.config.mask_feature_length=8", "--out", tmp_path / "runs",
        env={"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"},
    )  # fmt: skip
    assert ended.code == 0, ended.err
    model = load_model(ended.out.strip())
    assert len(model.labels) == 3
    assert model.info.recipe is not None
    (bin_file,) = (tmp_path / "home").rglob("pytorch_model.bin")
    assert sum("pytorch_model.bin" in asked and asked.startswith("GET") for asked in hub.requests) == 1
    assert os.path.realpath(bin_file) != str(bin_file)


def test_old_names_of_weight_norms_are_the_new_ones(hub, wav2vec2_base, tiny_checkpoint) -> None:
    from serlab.approaches.encoder import Settings
    from serlab.approaches.encoder.network import from_checkpoint

    fetched = from_checkpoint(Settings(checkpoint="facebook/wav2vec2-base"), ("a", "b"), "fp32")
    local = from_checkpoint(Settings(checkpoint=str(tiny_checkpoint)), ("a", "b"), "fp32")
    sound = torch.randn(1, 8000)
    with torch.no_grad():
        one, other = (net.base(sound).last_hidden_state for net in (fetched, local))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_pickle_of_a_checkpoint_runs_nothing(hub, wav2vec2_base, tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Evil()}, tmp_path / "evil.bin")
    repository = hub.repositories["facebook/wav2vec2-base"]
    repository.commit({**repository.files, "pytorch_model.bin": (tmp_path / "evil.bin").read_bytes()})
    from serlab.approaches.encoder import Settings
    from serlab.approaches.encoder.network import from_checkpoint

    with pytest.raises(UserError, match="serlab never runs pickled code"):
        from_checkpoint(Settings(checkpoint="facebook/wav2vec2-base"), ("a", "b"), "fp32")
    assert not (tmp_path / "ran").exists()


def test_a_gated_checkpoint_says_so(hub, wav2vec2_base) -> None:
    hub.repositories["facebook/wav2vec2-base"].gated = True
    with pytest.raises(UserError, match="the hub's model facebook/wav2vec2-base is gated"):
        weights.find("facebook/wav2vec2-base")
