"""Standard errors that are robust to speakers and to sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serlab.evaluation.sentences import two_way
from serlab.tables.predictions import make_table

LABELS = ("happy", "sad")


def experiment(seed: int, *, speakers: int = 20, sentences: int = 12, by_sentence: float = 0.12) -> pd.DataFrame:
    """Every speaker says every sentence in both emotions; both differ in how well they are recognised."""
    random = np.random.default_rng(seed)
    rows = [(s, t, label) for s in range(speakers) for t in range(sentences) for label in range(2)]
    speaker, sentence, truth = np.array(rows).T
    ease = random.normal(0, 0.06, speakers)[speaker] + random.normal(0, by_sentence, sentences)[sentence]
    right = random.random(len(truth)) < np.clip(0.6 + ease, 0, 1)
    clips = pd.DataFrame(
        {
            "clip": [f"{s}-{t}-{k}" for s, t, k in rows],
            "speaker": [f"s{s:02d}" for s in speaker],
            "label": [LABELS[k] for k in truth],
        }
    )
    return make_table(clips, np.eye(2)[np.where(right, truth, 1 - truth)], LABELS, side="test", fold=1, seed=0)


def sentence_of(table: pd.DataFrame) -> dict[str, str]:
    return {clip: clip.split("-")[1] for clip in table["clip"]}


def test_it_is_the_sum_of_cameron_gelbach_and_miller() -> None:
    table = experiment(0)
    found = two_way([table], sentence_of(table), LABELS)
    assert found is not None
    right = (table["logit_happy"] > 0.5) == (table["label"] == "happy")
    residual = right - right.groupby(table["label"]).transform("mean")
    share = residual / (2 * 240)  # 240 clips of each label
    sentence = table["clip"].map(sentence_of(table))
    squares = [
        (share.groupby(of).sum() ** 2).sum() * n / (n - 1)
        for of, n in ((table["speaker"], 20), (sentence, 12), (table["speaker"] + sentence, 240))
    ]
    assert found.error == pytest.approx(np.sqrt(squares[0] + squares[1] - squares[2]), rel=1e-6)
    assert found.speaker_error == pytest.approx(np.sqrt(squares[0]), rel=1e-6)
    assert found.sentence_error == pytest.approx(np.sqrt(squares[1]), rel=1e-6)
    assert found.sentences == 12


def test_its_interval_holds_the_truth_where_that_of_speakers_does_not() -> None:
    both, alone = [], []
    for seed in range(200):
        table = experiment(seed)
        found = two_way([table], sentence_of(table), LABELS)
        both.append(found.low <= 0.6 <= found.high)
        alone.append(abs(found.value - 0.6) <= 2.09 * found.speaker_error)
    assert np.mean(both) > 0.91
    assert np.mean(alone) < 0.8


def test_sentences_that_do_not_matter_change_little() -> None:
    errors = []
    for seed in range(30):
        table = experiment(seed, by_sentence=0.0)
        found = two_way([table], sentence_of(table), LABELS)
        errors.append(found.error / found.speaker_error)
    assert np.median(errors) == pytest.approx(1, abs=0.1)


def test_of_a_difference_what_both_models_find_hard_drops_out() -> None:
    one = experiment(3)
    found = two_way([one, one], sentence_of(one), LABELS)
    assert found is not None
    assert (found.value, found.error) == (0, 0)


def test_few_sentences_or_one_a_clip() -> None:
    few = experiment(1, sentences=5)
    assert two_way([few], sentence_of(few), LABELS) is None
    table = experiment(1)
    found = two_way([table], {}, LABELS)
    assert found is not None
    # Sentences that are all different add nothing to speakers.
    assert found.error == pytest.approx(found.speaker_error)
