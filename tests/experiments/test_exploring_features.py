"""Features by name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import serlab
from serlab.core import MachineError, UserError
from serlab.experiments.exploring_features import choose, vectors
from serlab.frontends import functionals
from serlab.sklearn import SpeechEmbedding


def test_functionals_by_name_and_by_recipe(tiny_corpus: Path) -> None:
    clips = serlab.load_corpus(str(tiny_corpus)).clips[:4]
    by_name, by_recipe = (vectors(choose(name), clips, cache=False) for name in ("mfcc", "mfcc-svm"))
    assert by_name.shape == (4, 220)
    assert (by_name == by_recipe).all()
    assert by_name == pytest.approx(SpeechEmbedding("mfcc", cache=False).transform(clips["path"].tolist()))


def test_a_recipe_s_encoder_gives_the_states_of_its_middle_layer(
    tiny_corpus: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "probe.yaml"
    recipe.write_text(f"title: a probe\nmodel: {{kind: probe, checkpoint: {tiny_checkpoint}}}\n")
    clips = serlab.load_corpus(str(tiny_corpus)).clips[:3]
    chosen = choose(str(recipe))
    found = vectors(chosen, clips, cache=False)
    expected = SpeechEmbedding(str(tiny_checkpoint), layer=1, cache=False).transform(clips["path"].tolist())
    assert found == pytest.approx(np.asarray(expected))
    assert chosen.title.endswith("(layer 1 of 2, frozen)")


@pytest.mark.parametrize("name", ["resnet18", "wav2vec2-tiny"])
def test_a_recipe_without_a_pretrained_encoder_has_no_features(name: str) -> None:
    with pytest.raises(UserError, match=f"features={name}: the recipe has no pretrained encoder"):
        choose(name)


def test_a_missing_extra_is_found_before_the_corpus_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    functionals._smile.cache_clear()
    with pytest.raises(MachineError, match=r"serlab\[opensmile\]"):
        serlab.explore("no-such-corpus.csv", features="egemaps")
