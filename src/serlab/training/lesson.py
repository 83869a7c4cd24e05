"""What a teacher says about the training clips, and the loss that a network learns it with.

Hinton, Vinyals, Dean 2015, arXiv:1503.02531: with teacher q and student p, both softmaxed at
temperature T, the loss is w T² KL(q || p) + (1 - w) CE(target, p at temperature 1). T² keeps the
gradient's size independent of T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from serlab.audio.augment import View
from serlab.frontends.store import ClipFile
from serlab.training.states import StateLesson


@dataclass(frozen=True, eq=False)
class Lesson:
    """The teachers' scores of the training clips.

    Attributes:
        clips: ids of the clips, those of ``unlabelled`` at the end.
        views: the views that were scored; a single one stands for all.
        logits: mean over the teachers, shape (views, clips, labels).
        temperature: T.
        weight: share w of the teacher in the loss.
        unlabelled: clips without labels, which only the teachers' scores are learned from.
        states: hidden states of the teacher's encoder; None if they are not learned.
    """

    clips: tuple[str, ...]
    views: tuple[View, ...]
    logits: NDArray[np.float32]
    temperature: float
    weight: float
    unlabelled: tuple[ClipFile, ...] = ()
    states: StateLesson | None = None

    def probabilities(self, clips: Sequence[str]) -> NDArray[np.float32]:
        """The teachers' probabilities at temperature T, shape (views, clips, labels), for some of the clips."""
        place = {clip: number for number, clip in enumerate(self.clips)}
        chosen = self.logits[:, [place[clip] for clip in clips]]
        return np.asarray(softmax(chosen / self.temperature, axis=-1), np.float32)

    def row(self, view: View) -> int:
        """Index of a view in the first axis."""
        return self.views.index(view) if len(self.views) > 1 else 0


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher || student), summed over clips.

    Args:
        logits: of the student, shape (clips, labels).
        taught: the teachers' probabilities at temperature T, same shape.
        temperature: T.
    """
    student = nn.functional.log_softmax(logits / temperature, dim=-1)
    return temperature**2 * nn.functional.kl_div(student, taught, reduction="sum")
