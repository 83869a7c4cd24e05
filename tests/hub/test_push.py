"""A model is published, found by others, and every way to fail is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from tests.hub.fake import TOKEN

from serlab import load_model
from serlab.core import UserError, as_options
from serlab.export.hub import publication

QUOTED = {
    "uar": 0.6123456, "low": 0.58, "high": 0.64, "reason": "", "clips": 900, "speakers": 18, "protocol": "speaker-5",
    "speaker_disjoint": True, "where": "runs",
}  # fmt: skip


@pytest.fixture
def tested(tiny_models, tmp_path) -> Path:
    """A copy of the tiny ResNet that quotes a comparison, with a file that is no part of it and a private path."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-resnet"], folder)
    content = json.loads((folder / "serlab.json").read_text("utf-8"))
    content["signature"]["identity"]["quoted"] = QUOTED
    content.pop("tested", None)
    content["signature"]["exclusions"] = [{"clip": "a", "path": "/home/me/private/a.wav", "reason": "silent"}]
    (folder / "serlab.json").write_text(json.dumps(content), "utf-8")
    (folder / "notes.txt").write_text("mine", "utf-8")
    (folder / "heard.json").write_text('{"format": 1, "speech": []}', "utf-8")
    (folder / "NOTICE").write_text("It was made from the works of others.", "utf-8")
    return folder


# A line of huggingface_hub that its own HTTP client warns about.
@pytest.mark.filterwarnings("ignore:Use 'content=")
def test_what_was_published_is_found_by_its_name(serlab, hub, token, tested, tiny_corpus, one_thread) -> None:
    ended = serlab("push", tested, "me/small", "--licence", "cc-by-4.0")
    assert (ended.code, ended.out) == (0, f"{hub.address}/me/small\n"), ended.err
    assert "left out: notes.txt (not a file of a model)" in ended.err
    published = hub.repositories["me/small"].files
    assert set(published) == {path.name for path in tested.iterdir()} - {"notes.txt"}
    assert published["model.safetensors"] == (tested / "model.safetensors").read_bytes()
    assert b"/home/me" not in b"".join(published.values())
    clips = sorted(tiny_corpus.parent.glob("*.wav"))[:3]
    found = load_model("me/small", precision="fp32")
    assert found.predict(clips) == load_model(tested, precision="fp32").predict(clips)
    assert found.info.uar == load_model(tested).info.uar
    ended = serlab("predict", "--model", "me/small@main", "--format", "csv", clips[0])
    assert ended.code == 0, ended.err


def test_a_model_is_published_with_all_of_its_shards_or_not_at_all(tested) -> None:
    model = load_model(tested)
    (tested / "model.safetensors").rename(tested / "part.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "part.safetensors"}}
    (tested / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(UserError, match=r"index.json names the weights part.safetensors, which"):
        publication(model, "me/small")


def test_the_card_has_metrics_licence_and_limits(tested) -> None:
    chosen = publication(load_model(tested), "me/small", licence="cc-by-4.0")
    _, front, body = chosen.card.split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["license"] == "cc-by-4.0"
    assert (data["library_name"], data["pipeline_tag"]) == ("serlab", "audio-classification")
    (index,) = data["model-index"]
    (result,) = index["results"]
    assert index["name"] == "small"
    assert result["dataset"] == {"name": "tiny, protocol speaker-5", "type": "tiny"}
    (metric,) = result["metrics"]
    assert metric["value"] == 0.6123
    assert metric["name"] == "UAR of models with this recipe, on unseen speakers"
    for words in ("do not judge a person by this model", "serlab predict --model me/small", "Corpus licence:"):
        assert words in body


def test_the_model_s_own_tested_score_comes_first(tested) -> None:
    content = json.loads((tested / "serlab.json").read_text("utf-8"))
    content["tested"] = {**QUOTED, "uar": 0.5}
    (tested / "serlab.json").write_text(json.dumps(content), "utf-8")
    data = yaml.safe_load(publication(load_model(tested), "me/small").card.split("---\n", 2)[1])
    (metric,) = data["model-index"][0]["results"][0]["metrics"]
    assert (metric["name"], metric["value"]) == ("UAR on unseen speakers", 0.5)


def test_a_model_without_a_tested_score_claims_none(tested) -> None:
    content = json.loads((tested / "serlab.json").read_text("utf-8"))
    del content["signature"]["identity"]["quoted"]
    (tested / "serlab.json").write_text(json.dumps(content), "utf-8")
    data = yaml.safe_load(publication(load_model(tested), "me/svm").card.split("---\n", 2)[1])
    assert "model-index" not in data
    assert (data["license"], data["license_name"]) == ("other", "see-model-card")


def test_a_dry_run_shows_all_and_asks_nobody(serlab, hub, tiny_models) -> None:
    ended = serlab("push", tiny_models["tiny-wav2vec2"], "me/small", "--dry-run")
    assert ended.code == 0
    size = (tiny_models["tiny-wav2vec2"] / "model.safetensors").stat().st_size
    assert f"model.safetensors  {size:,} bytes\n" in ended.out
    assert "library_name: transformers" in ended.out
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token_given", "name", "words"),
    [
        (None, "me/small", "publishing needs a token of the hub with write access; log in with hf auth login"),
        ("hf_old", "me/small", "the hub refuses your token; log in again with hf auth login"),
        (TOKEN, "you/small", "your token may not write to you/small; check the owner, and the token's permissions."),
    ],
)
def test_a_token_that_does_not_do(serlab, hub, monkeypatch, tiny_models, token_given, name, words) -> None:
    if token_given:
        monkeypatch.setenv("HF_TOKEN", token_given)
    ended = serlab("push", tiny_models["mfcc-svm"], name)
    assert ended.code == 2
    assert words in ended.sentence
    assert hub.repositories == {}


def test_without_a_network_nothing_is_published(serlab, hub, token, monkeypatch, tiny_models) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    ended = serlab("push", tiny_models["mfcc-svm"], "me/small")
    assert ended.code == 3
    assert ended.sentence == ("me/small was not published, because the hub cannot be reached: go online and try again.")


@pytest.mark.filterwarnings("ignore:Use 'content=")
def test_an_upload_that_breaks_is_the_network_s_fault(serlab, hub, token, monkeypatch, tiny_models) -> None:
    hub.refuses_uploads = True
    monkeypatch.setattr("time.sleep", lambda _: None)
    ended = serlab("push", tiny_models["mfcc-svm"], "me/small")
    assert ended.code == 3
    assert "me/small was not published, because the hub cannot be reached" in ended.err
    assert hub.repositories["me/small"].files == {}


@pytest.mark.parametrize("name", ["small", "me/small@v1", "me/sm all", "a/b/c"])
def test_a_name_that_the_hub_cannot_have(tiny_models, name) -> None:
    with pytest.raises(UserError, match=r"is not a name on the hub; expected owner/name\."):
        publication(load_model(tiny_models["mfcc-svm"]), name)


def test_a_licence_that_is_no_identifier(tiny_models) -> None:
    with pytest.raises(UserError) as found:
        publication(load_model(tiny_models["mfcc-svm"]), "me/small", licence="My: licence")
    assert as_options(found.value) == "--licence My: licence is not an identifier of the hub, such as mit or cc-by-4.0."
