import pytest
from tests.conftest import EMOTIONS

from serlab.evaluation.lines import evaluation_lines

SCORE = {"value": 0.5, "low": 0.4, "high": 0.6, "reason": ""}
NONE = {"value": 0.5, "low": None, "high": None, "reason": "fewer than 10 speakers (4)"}
ERROR = {"overconfidence": SCORE, "ece": 0.031, "rms_error": SCORE}
COVERED = {"by_speaker": SCORE, "mean_size": 2.0, "folds": {"4": 0.5}, "unattained": [1, 2]}


def result(**trust):
    """What :func:`serlab.evaluation.judge.evaluate` finds, with its smallest trust but for what is given."""
    nothing = {
        "calibration": {
            "temperatures": None,
            "without": "fold 2 has no rows of the side dev",
            "before": ERROR,
            "after": None,
        },
        "abstention": {"at": [{"coverage": 0.8, "accuracy": NONE}]},
        **dict.fromkeys(("sets", "groups", "tracks", "soft", "people")),
    }
    return {
        "labels": EMOTIONS,
        "absent": [],
        "clips": 9,
        "speakers": 4,
        "seeds_comparable": True,
        "scores": dict.fromkeys(("uar", "wa", "macro_f1"), SCORE),
        "per_class": [],
        "corpus": None,
        "unpredicted": 1,
        "exclusions": [],
        "trust": nothing | trust,
    }


@pytest.mark.parametrize(
    ("trust", "line"),
    [
        ({}, "1 clip of the corpus has no prediction in the table"),
        ({}, "no temperature and no sets: fold 2 has no rows of the side dev"),
        ({}, "calibration error: ECE 3.1 %; freed of noise, root mean square 50.0 % (95 % interval 40.0 to 60.0)"),
        ({}, "of the surest 80 % of answers, 50.0 % are right (no interval: fewer than 10 speakers (4))"),
        (
            {"sets": [{"level": 0.95, "fewest_speakers": 19, "speakers": COVERED}]},
            "sets for 95 %: 50.0 % covered (95 % interval 40.0 to 60.0), 2.00 labels a set "
            "(fold 4 alone, of the others dev has too few speakers)",
        ),
        (
            {"sets": [{"level": 0.95, "fewest_speakers": 19, "speakers": None}]},
            "sets for 95 %: not attainable with fewer than 19 known speakers in dev",
        ),
        (
            {"soft": {"macro_f1": SCORE, "divergence": SCORE, "cross_entropy": SCORE, "entropy": 0.25}},
            "against all votes: multi-label macro-F1 50.0 % (95 % interval 40.0 to 60.0)",
        ),
        (
            {"soft": {"macro_f1": None, "divergence": SCORE, "cross_entropy": SCORE, "entropy": 0.25}},
            "against all votes: Jensen-Shannon divergence 0.500 bits, cross-entropy 0.500 nats, of which 0.250 are "
            "the votes' own",
        ),
        ({"people": {"pearson": SCORE}}, "errors correlate with people's by 0.50 (95 % interval 0.40 to 0.60)"),
        (
            {"people": {"pearson": NONE}},
            "errors correlate with people's by 0.50 (no interval: fewer than 10 speakers (4))",
        ),
    ],
)
def test_what_limits_a_figure_stands_beside_it(trust, line):
    assert line in evaluation_lines(result(**trust))
