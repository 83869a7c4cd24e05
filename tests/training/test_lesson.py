"""The loss of distillation against its definition, and what teachers say about views and mixed clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from serlab.audio.augment import View
from serlab.training.lesson import Lesson, distillation

SLOW = View(speed=0.9)


def lesson(views: tuple[View, ...] = (View(),)) -> Lesson:
    logits = np.random.default_rng(0).normal(size=(len(views), 3, 2)).astype(np.float32)
    return Lesson(("a", "b", "c"), views, logits, 2.0, 0.8)


def test_distillation_is_the_divergence_at_the_temperature_times_its_square() -> None:
    student = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    taught = torch.tensor([[0.7, 0.3], [1.0, 0.0]])
    found = distillation(student, taught, 2.0)

    p = np.exp(student.numpy() / 2)
    p /= p.sum(axis=1, keepdims=True)
    q = taught.numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = 4 * np.nansum(q * np.log(q / p))
    assert found.item() == pytest.approx(wanted, rel=1e-6)


def test_a_student_that_equals_its_teacher_has_no_loss() -> None:
    logits = torch.randn(5, 4)
    assert distillation(logits, torch.softmax(logits / 3, dim=-1), 3.0).item() == pytest.approx(0, abs=1e-5)


def test_the_gradient_does_not_shrink_with_the_temperature() -> None:
    def gradient(temperature: float) -> float:
        logits = torch.tensor([[0.2, -0.1, 0.4]], requires_grad=True)
        taught = torch.softmax(torch.tensor([[0.1, 0.3, -0.2]]) / temperature, dim=-1)
        distillation(logits, taught, temperature).backward()
        return float(logits.grad.abs().sum())

    assert gradient(20.0) == pytest.approx(gradient(40.0), rel=0.05)


def test_probabilities_are_of_the_named_clips_in_their_order() -> None:
    found = lesson().probabilities(["c", "a"])
    logits = lesson().logits[0, [2, 0]] / 2
    np.testing.assert_allclose(found[0], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-6)


def test_one_view_stands_for_all_and_several_for_themselves() -> None:
    assert lesson().row(SLOW) == 0
    both = lesson((View(), SLOW))
    assert (both.row(View()), both.row(SLOW)) == (0, 1)
