"""End to end on real recordings: a part of CREMA-D and the real pretrained Whisper-base encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import WhisperForAudioClassification

import serlab
from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.encoder import network as encoder
from serlab.approaches.pooling import statistics
from serlab.audio import Audio
from serlab.frontends.encoders import Extractor
from serlab.recipes import load_recipe
from serlab.tables.predictions import read_runs

ACTORS = [str(actor) for actor in (1001, 1008, 1015, 1022, 1037, 1044, 1051, 1058, 1065, 1072, 1079, 1086)]
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}

pytestmark = [pytest.mark.cremad, pytest.mark.slow]


@pytest.fixture(scope="module")
def weights() -> Path:
    folder = Path(__file__).parents[2] / "shared" / "models" / "whisper-base-encoder"
    if not folder.is_dir():
        pytest.skip("the Whisper-base encoder of the development data is not here")
    return folder


@pytest.fixture(scope="module")
def part(cremad_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 actors' clips of two sentences: 144 clips."""
    files = [
        path
        for path in sorted((cremad_root / "AudioWAV").iterdir())
        if path.name.split("_")[0] in ACTORS and path.name.split("_")[1] in ("DFA", "ITS")
    ]
    names = [path.stem.split("_") for path in files]
    table = pd.DataFrame(
        {
            "path": [str(path) for path in files],
            "label": [EMOTIONS[name[2]] for name in names],
            "speaker": [name[0] for name in names],
        }
    )
    path = tmp_path_factory.mktemp("part") / "cremad-part.csv"
    table.to_csv(path, index=False)
    return path


def test_a_probe_on_real_whisper_features_beats_chance_on_unseen_actors(
    part: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERLAB_MODELS", str(weights.parent))

    result = serlab.compare(str(part), ["whisper-base-probe", "mfcc-svm"], protocol="speaker-3", out=tmp_path)

    summary = json.loads((result.report.parent / "report.json").read_text())
    scores = {recipe["name"]: recipe["scores"]["uar"] for recipe in summary["recipes"]}
    assert scores["whisper-base-probe"]["low"] > 1 / 6
    tables = {run.path.parent.name: run.table for run in read_runs(result.folder) if run.signature["fold"] == 1}
    assert set(tables["mfcc-svm"]["clip"]) == set(tables["whisper-base-probe"]["clip"])
    assert "Whisper" in result.report.read_text()


def test_whisper_on_the_clips_own_length_agrees_with_the_30_s_path(part: Path, weights: Path) -> None:
    network = encoder.from_checkpoint(EncoderModel(checkpoint=str(weights)), ("a", "b"), "fp32").eval()
    plain = WhisperForAudioClassification.from_pretrained(weights, dtype=torch.float32).eval()
    frontend = network.frontend
    assert isinstance(frontend, Extractor)
    layer = 3
    for path in pd.read_csv(part)["path"][:3]:
        samples = Audio.from_file(path).samples
        with torch.no_grad():
            own = network.hidden_states(torch.from_numpy(frontend(samples))[None])[layer]
            padded = frontend.extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
            long = plain.encoder(padded, output_hidden_states=True).hidden_states[layer][:, : own.shape[1]]
        # Measured: 0.988 to 0.992.
        assert torch.nn.functional.cosine_similarity(statistics(own), statistics(long)).item() > 0.98


def test_a_network_trained_on_real_clips_is_kept_loaded_and_predicts_as_its_table_says(
    part: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("resnet18-small", ["training.epochs=2"], "fp32")
    result = serlab.compare(str(part), [recipe], protocol="speaker-3", folds=[1], out=tmp_path, keep_models=True)

    run = read_runs(result.folder)[0]
    test = run.table[run.table["side"] == "test"].set_index("clip")
    paths = {Path(path).stem: path for path in pd.read_csv(part)["path"]}
    some = list(test.index[:5])
    predictions = serlab.predict(
        result.models[0], [paths[Path(clip).stem] for clip in some], precision="fp32"
    ).predictions

    logits = test.loc[some, [f"logit_{label}" for label in EMOTIONS.values()]].to_numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ours = np.array([[row.probabilities[label] for label in EMOTIONS.values()] for row in predictions])
    np.testing.assert_allclose(ours, expected, atol=1e-4)
