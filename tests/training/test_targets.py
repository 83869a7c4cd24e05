import numpy as np
import pandas as pd
import pytest

from serlab.core import UserError
from serlab.recipes import load_recipe
from serlab.training.targets import targets_of

LABELS = ("calm", "loud")


def clips(votes: list[tuple[int, int]]) -> pd.DataFrame:
    table = pd.DataFrame(votes, columns=["votes_voice_calm", "votes_voice_loud"])
    return table.assign(clip=[f"c{number}" for number in range(len(table))], label=["loud", "calm"])


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("hard", [[0, 1], [1, 0]]),
        ("soft", [[0.25, 0.75], [0.5, 0.5]]),
        ("both", [[0.125, 0.875], [0.75, 0.25]]),
    ],
)
def test_targets(kind, wanted):
    found = targets_of(clips([(1, 3), (2, 2)]), LABELS, kind)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted)


def test_votes_that_are_not_there():
    with pytest.raises(UserError, match="clip c1 has no votes"):
        targets_of(clips([(1, 3), (0, 0)]), LABELS, "soft")
    with pytest.raises(UserError, match="has no voice votes"):
        targets_of(clips([(1, 3), (1, 0)])[["clip", "label"]], LABELS, "both")


def test_hard_targets_leave_a_recipe_what_it_was():
    assert load_recipe("resnet18").hash(None) == load_recipe("resnet18", ["training.targets=hard"]).hash(None)
    assert load_recipe("resnet18").hash(None) != load_recipe("resnet18", ["training.targets=soft"]).hash(None)


@pytest.mark.parametrize("name", ["mfcc-svm", "whisper-base-probe"])
def test_what_cannot_learn_soft_targets_says_so(name):
    with pytest.raises(UserError, match=r"training\.targets is for networks"):
        load_recipe(name, ["training.targets=soft"])
