from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.evaluation.abstention import Selective
from serlab.evaluation.confidence import FoldCoverage, SetLevel
from serlab.evaluation.judge import Evaluation, evaluate
from serlab.evaluation.lines import evaluation_lines
from serlab.evaluation.resampling import Interval
from serlab.evaluation.soft import SoftScores
from serlab.evaluation.trust import BesideRaters, ListedClips
from serlab.tables.predictions import make_table

SCORE = Interval(0.5, 0.4, 0.6)
NONE = Interval(0.5, None, None, "fewer than 10 speakers (4)")
COVERED = FoldCoverage(SCORE, SCORE, 2.0, 0.0, 0.5, (0.5,), (0.5,) * 5, {"4": 0.5}, (1, 2))
SOFT = SoftScores(9, 0, SCORE, SCORE, SCORE, 0.25)
RATERS = BesideRaters(SCORE, None, ListedClips(0, ()), ListedClips(0, ()))


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """What a table of one fold without dev rows gives."""
    clips = pd.DataFrame({"clip": list("abcdef"), "speaker": list("xxxyyy"), "label": EMOTIONS})
    return evaluate(make_table(clips, np.eye(6), EMOTIONS, side="test", fold=2, seed=0))


def with_trust(found: Evaluation, **trust) -> Evaluation:
    return replace(found, unpredicted=1, trust=replace(found.trust, **trust))


@pytest.mark.parametrize(
    ("trust", "line"),
    [
        ({}, "1 clip of the corpus has no prediction in the table"),
        ({}, "no temperature and no sets: there are no rows of the side dev beside those that are judged"),
        (
            {"sets": (SetLevel(0.95, 19, COVERED, None),)},
            "sets for 95 %: 50.0 % covered (95 % interval 40.0 to 60.0), 2.00 labels per set "
            "(only fold 4; in the others dev has too few speakers)",
        ),
        (
            {"sets": (SetLevel(0.95, 19, None, None),)},
            "sets for 95 %: not attainable with fewer than 19 known speakers in dev",
        ),
        ({"soft": SOFT}, "against all votes: multi-label macro-F1 50.0 % (95 % interval 40.0 to 60.0)"),
        (
            {"soft": replace(SOFT, macro_f1=None)},
            "against all votes: Jensen-Shannon divergence 0.500 bits, cross-entropy 0.500 nats, including 0.250 of "
            "the votes themselves",
        ),
        ({"people": RATERS}, "errors correlate with the raters' by 0.50 (95 % interval 0.40 to 0.60)"),
        (
            {"people": replace(RATERS, pearson=NONE)},
            "errors correlate with the raters' by 0.50 (no interval: fewer than 10 speakers (4))",
        ),
    ],
)
def test_what_limits_a_figure_stands_beside_it(found, trust, line):
    assert line in evaluation_lines(with_trust(found, **trust))


def test_calibration_and_abstention_have_lines(found):
    calibration, abstention = found.trust.calibration, found.trust.abstention
    before = replace(calibration.before, ece=0.031, rms_error=SCORE)
    lines = evaluation_lines(
        with_trust(
            found,
            calibration=replace(calibration, before=before),
            abstention=replace(abstention, at=(Selective(0.8, 0.5, NONE, None, ()),)),
        )
    )
    assert "calibration error: ECE 3.1 %; debiased RMS 50.0 % (95 % interval 40.0 to 60.0)" in lines
    assert "of the surest 80 % of answers, 50.0 % are right (no interval: fewer than 10 speakers (4))" in lines
