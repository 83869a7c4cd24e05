"""Subsets of a fold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serlab.approaches.base import Subset
from serlab.core import UserError


def test_a_label_with_too_few_training_clips_is_named():
    subset = Subset(pd.DataFrame(), (), np.array([0, 0, 1]))

    subset.check_labels(("angry", "calm"), at_least=1)

    with pytest.raises(UserError, match=r"training clips of the label 'calm' is 1, .* at least 2; choose another"):
        subset.check_labels(("angry", "calm"), at_least=2)
    with pytest.raises(UserError, match="the label 'sad' is 0"):
        subset.check_labels(("angry", "calm", "sad"), at_least=1)
