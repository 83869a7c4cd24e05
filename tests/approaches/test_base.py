"""Subsets of a fold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serlab import approaches
from serlab.approaches.base import Subset
from serlab.core import UserError


def test_a_label_with_too_few_training_clips_is_named():
    subset = Subset(pd.DataFrame(), (), np.array([0, 0, 1]))

    subset.check_labels(("angry", "calm"), at_least=1)

    with pytest.raises(UserError, match=r"training clips of the label 'calm' is 1, .* at least 2; choose another"):
        subset.check_labels(("angry", "calm"), at_least=2)
    with pytest.raises(UserError, match="the label 'sad' is 0"):
        subset.check_labels(("angry", "calm", "sad"), at_least=1)


@pytest.mark.parametrize(("name", "fields"), [("svm", {}), ("probe", {"checkpoint": "none"})])
def test_an_approach_that_needs_clips_of_every_label_says_so_before_anything_else(
    name: str, fields: dict[str, Any]
) -> None:
    approach: Any = approaches.get(name)
    context = SimpleNamespace(labels=("angry", "calm"))
    with pytest.raises(UserError, match="training clips of the label 'calm' is 0"):
        approach.fit(approach.settings(**fields), Subset(pd.DataFrame(), (), np.array([0, 0])), None, context)
