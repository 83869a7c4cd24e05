from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.evaluation.abstention import Selective
from serlab.evaluation.claims import answer_words, calibration_text
from serlab.evaluation.confidence import FoldCoverage, SetLevel
from serlab.evaluation.judge import Evaluation, evaluate
from serlab.evaluation.lines import evaluation_lines
from serlab.evaluation.metrics import PERCENT
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
            {"sets": (SetLevel(0.95, 19, 19, 1.0, 19, COVERED, None),)},
            "sets for 95 %: 50.0 % covered (95 % interval 40.0 to 60.0), 2.00 labels per set "
            "(only fold 4; in the others dev has too few speakers)",
        ),
        (
            {"sets": (SetLevel(0.8, 4, 4, 1.0, 16, replace(COVERED, unattained=()), None),)},
            "sets for 80 %: 50.0 % covered (95 % interval 40.0 to 60.0), 2.00 labels per set; with 4 dev speakers the "
            "rule has to aim at 100.0 %, and comes within 5 points of what is asked from 16 on",
        ),
        (
            {"sets": (SetLevel(0.95, 19, None, None, 19, None, None),)},
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


@pytest.mark.parametrize(
    ("over", "rms", "shown", "text"),
    [
        (
            (0.04, 0.02, 0.06),
            (0.03, 0.0, 0.05),
            "overconfident",
            "overconfident by 4.0 points (95 % interval 2.0 to 6.0)",
        ),
        (
            (-0.114, -0.165, -0.058),
            (0.1, 0.05, 0.15),
            "underconfident",
            "underconfident by 11.4 points (95 % interval 5.8 to 16.5)",
        ),
        (
            (0.0, -0.02, 0.02),
            (0.05, 0.01, 0.08),
            "miscalibrated",
            "miscalibrated: overconfident in some bins, underconfident in others (debiased RMS error 5.0 points, "
            "95 % interval 1.0 to 8.0)",
        ),
        (
            (0.0, -0.02, 0.02),
            (0.0, 0.0, 0.03),
            "not shown",
            "no error of calibration is shown (debiased RMS error 0.0 points, 95 % interval 0.0 to 3.0)",
        ),
    ],
)
def test_calibration_is_one_statement_without_signs(found, over, rms, shown, text):
    judged = replace(
        found.trust.calibration.before, overconfidence=Interval(*over), rms_error=Interval(*rms), shown=shown
    )
    assert calibration_text(judged) == text


def test_zero_has_no_sign():
    assert [PERCENT(value, sign) for value in (-0.0001, 0.0001) for sign in ("", "+")] == ["0.0"] * 4
    assert [PERCENT(-0.1), PERCENT(0.1, "+"), PERCENT(0.001, "+")] == ["-10.0", "+10.0", "+0.1"]


def test_a_constant_table_is_all_ties_and_that_is_said():
    clips = pd.DataFrame({"clip": list("abcdef"), "speaker": list("xxxyyy"), "label": EMOTIONS})
    constant = evaluate(make_table(clips, np.zeros((6, 6)), EMOTIONS, side="test", fold=1, seed=0))
    assert constant.per_class[0].recall == 1
    assert constant.ties == 6
    assert (
        "6 predictions are ties of the highest score, given to the first of its labels: they say nothing"
        in evaluation_lines(constant)
    )


def test_an_answer_that_the_family_does_not_allow_is_said_so():
    assert answer_words("better", recipes=True, alone="better", family=10) == "better"
    words = answer_words("not shown", recipes=True, alone="worse", family=10)
    assert words == "not shown (worse on its own; not after Holm over 10 pairs)"
