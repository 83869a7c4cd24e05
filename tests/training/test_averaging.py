"""Averages of weights over training, against the definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from serlab.core import UserError
from serlab.recipes import Training
from serlab.training.averaging import FILE, Averaged, decay_after
from serlab.training.checkpoint import _save


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net[0].bias.requires_grad_(False)
    return net


def step(net: nn.Sequential, number: int) -> None:
    """What a training step changes: weights and running statistics."""
    with torch.no_grad():
        net[0].weight.add_(0.5 * number)
    net.train()(torch.arange(12, dtype=torch.float32).reshape(4, 3) * number)


def test_ema_follows_its_definition_in_weights_and_running_statistics() -> None:
    net = network()
    averaged = Averaged.of(net, Training(ema=0.5))
    assert averaged is not None
    wanted = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for number in range(1, 12):
        step(net, number)
        averaged.after_step(number)
        decay = min(0.5, (1 + number) / (10 + number))
        for name in ("0.weight", "1.running_mean", "1.running_var"):
            wanted[name] = decay * wanted[name] + (1 - decay) * net.state_dict()[name]

    assert decay_after(0.5, 11) == 0.5 > decay_after(0.5, 1)
    assert averaged.kept.keys() == {"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
    for name in ("0.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(averaged.kept[name], wanted[name])


def test_swa_is_the_mean_of_the_last_epochs() -> None:
    net = network()
    averaged = Averaged.of(net, Training(epochs=5, swa=3))
    assert averaged is not None
    ends = []
    for epoch in range(1, 6):
        step(net, epoch)
        averaged.after_step(epoch)
        averaged.after_epoch(epoch)
        ends.append(net[0].weight.detach().clone())
        assert averaged.started(epoch) == (epoch >= 3)
    torch.testing.assert_close(averaged.kept["0.weight"], torch.stack(ends[2:]).mean(dim=0))


def test_the_average_is_shown_and_taken_back_to_the_last_bit(tmp_path: Path) -> None:
    net = network()
    averaged = Averaged(net, Training(ema=0.9))
    step(net, 1)
    averaged.after_step(1)
    own, mean = ({n: t.clone() for n, t in each.items()} for each in (averaged.live, averaged.kept))

    with averaged.shown():
        assert all(torch.equal(net.state_dict()[name], mean[name]) for name in mean)
    assert all(torch.equal(net.state_dict()[name], own[name]) for name in own)

    _save(averaged.kept, tmp_path / FILE)
    other = Averaged(network(), Training(ema=0.9))
    other.load(tmp_path)
    other.apply()
    assert all(torch.equal(other.live[name], mean[name]) for name in mean)


def test_no_average_is_kept_unless_asked_for_and_never_two() -> None:
    assert Averaged.of(network(), Training()) is None
    with pytest.raises(UserError, match=r"training.ema and training.swa both average the weights"):
        Training(ema=0.9, swa=2)
    with pytest.raises(UserError, match=r"training.swa is 4; it must be at most 3"):
        Training(epochs=3, swa=4)
