"""Int8 prediction: close to fp32, and as independent of the batch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.approaches.test_encoder import ARCHITECTURES, build, clips

from serlab.approaches.int8 import Int8Linear, quantise
from serlab.approaches.network import score
from serlab.core import UserError
from serlab.model.folder import load

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="int8 is for processors")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_close_to_fp32_and_do_not_depend_on_the_batch(architecture: str) -> None:
    network = build(*ARCHITECTURES[architecture])
    rough = copy.deepcopy(network)
    quantise(rough.layers)
    features = [network.frontend(clip) for clip in clips(16000, 20000, 16000)]

    exact, together = (score(model, features, "fp32") for model in (network, rough))
    alone = np.concatenate([score(rough, [clip], "fp32") for clip in features])

    assert any(isinstance(module, Int8Linear) for module in rough.modules())
    assert 0 < np.abs(together - exact).max() < 0.1
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_linear_layer_errs_by_less_than_a_hundredth_of_its_range() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 32)
    x = torch.randn(2, 50, 64)
    error = (Int8Linear(linear)(x) - linear(x)).abs().max()
    assert error < 0.02 * linear(x).abs().max()


def test_a_model_folder_loads_in_int8_and_others_say_what_it_is_for(tiny_models: dict[str, Path]) -> None:
    assert load(tiny_models["tiny-wav2vec2"], "int8").precision == "int8"
    for name in ("tiny-resnet", "mfcc-svm"):
        with pytest.raises(UserError, match="int8 needs a fine-tuned speech encoder"):
            load(tiny_models[name], "int8")


@pytest.mark.parametrize("engine", ["qnnpack", "x86"])
def test_the_engine_of_the_process_is_left_as_it_is(engine: str) -> None:
    if engine not in torch.backends.quantized.supported_engines:
        pytest.skip(f"this PyTorch has no {engine}")
    before = torch.backends.quantized.engine
    torch.manual_seed(0)
    values, results = torch.randn(2, 30, 16), []
    try:
        for given in (before, engine):
            torch.backends.quantized.engine = given
            torch.manual_seed(1)
            layers = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(16, 8)))
            quantise(layers)
            assert torch.backends.quantized.engine == given
            results.append(layers(values))
    finally:
        torch.backends.quantized.engine = before
    assert torch.equal(*results)
