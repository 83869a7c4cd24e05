from dataclasses import asdict

import numpy as np
import pytest

from serlab.core import UserError
from serlab.evaluation.reliance import RISKS, Reliance

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.integers(0, 3, 3000)
LOGITS = 2.0 * np.eye(3)[TRUTH] + RANDOM.normal(0, 1.5, (3000, 3))


def test_the_answers_on_dev_are_as_right_as_asked():
    reliance = Reliance.fit(LOGITS, TRUTH)
    kept = []
    for risk in (0.05, 0.1, 0.2):
        threshold = reliance.threshold(risk)
        answered = np.array([reliance.answers(row, threshold) for row in LOGITS])
        wrong = (LOGITS.argmax(axis=1) != TRUTH)[answered].mean()
        assert wrong <= risk
        kept.append(answered.mean())
    assert kept == sorted(kept)
    assert kept[0] > 0.1


def test_a_signature_holds_it():
    reliance = Reliance.fit(LOGITS, TRUTH)
    assert Reliance.of(asdict(reliance)) == reliance
    assert len(reliance.thresholds) == len(RISKS) == 50


@pytest.mark.parametrize("risk", [0.0, 0.005, 0.7, -1])
def test_a_risk_out_of_range(risk):
    with pytest.raises(UserError, match=r"from 0\.01 to 0\.5"):
        Reliance.fit(LOGITS, TRUTH).threshold(risk)


def test_a_model_that_is_never_sure_enough():
    reliance = Reliance.fit(-LOGITS, TRUTH)
    with pytest.raises(UserError, match="allow a larger share"):
        reliance.threshold(0.01)
