"""The convolutional encoder as matrix products: against transformers' own module, clip by clip, with its gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.approaches.ways import force
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from serlab.approaches.encoder import stem

KINDS = {
    "wav2vec2, group norm": ("wav2vec2", {}),
    "wav2vec2, layer norm": ("wav2vec2", {"feat_extract_norm": "layer", "conv_bias": True}),
    "wav2vec2, group norm, biases": ("wav2vec2", {"conv_bias": True}),
    "hubert": ("hubert", {"feat_extract_norm": "layer"}),
    "wavlm": ("wavlm", {}),
    "data2vec-audio": ("data2vec-audio", {}),
    "sew": ("sew", {"conv_kernel": [10, 3, 3], "conv_stride": [5, 2, 2], "squeeze_factor": 2}),
    "another activation": ("wav2vec2", {"feat_extract_activation": "relu"}),
}
WAYS = ("products", "convolutions")


def encoder_of(kind: str = "wav2vec2", *, channels: int = 12, **fields) -> nn.Module:
    torch.manual_seed(1)
    layers = len(fields.get("conv_kernel", [0] * 7))
    config = AutoConfig.for_model(
        kind,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        conv_dim=[channels] * layers,
        num_feat_extract_layers=layers,
        **fields,
    )
    encoder = AutoModel.from_config(config).feature_extractor.eval()
    for parameter in encoder.parameters():
        if parameter.dim() == 3:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return encoder


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Compare with a tolerance for values around 1."""
    largest = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, atol=tolerance * largest, rtol=0)


def plain(encoder: nn.Module, samples: Tensor) -> Tensor:
    return type(encoder).forward(encoder, samples.clone())


def speech(batch: int, samples: int) -> Tensor:
    """Low-passed noise: neighbouring samples resemble each other, as in speech."""
    noise = torch.randn(batch, samples + 8, generator=torch.Generator().manual_seed(samples))
    smooth = noise.unfold(1, 9, 1).mean(dim=2)
    return (smooth - smooth.mean(dim=1, keepdim=True)) / smooth.std(dim=1, keepdim=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_returns_what_transformers_returns(kind: str, way: str) -> None:
    name, fields = KINDS[kind]
    encoder = encoder_of(name, **fields)
    assert stem.supports(encoder)
    samples = speech(3, 4000)
    with torch.no_grad():
        expected = plain(encoder, samples)
        found = stem.encode(encoder, samples, way).transpose(1, 2)
    close(found, expected)


@settings(max_examples=40)
@given(
    kernels=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), min_size=1, max_size=4),
    extra=st.integers(0, 300),
    batch=st.integers(1, 3),
    norm=st.sampled_from(["group", "layer"]),
    way=st.sampled_from(WAYS),
)
def test_any_width_stride_and_length(
    kernels: list[tuple[int, int]], extra: int, batch: int, norm: str, way: str
) -> None:
    widths, strides = zip(*kernels, strict=True)
    encoder = encoder_of(
        channels=4, conv_kernel=list(widths), conv_stride=list(strides), feat_extract_norm=norm, conv_bias=True
    )
    shortest = 1
    for width, stride in reversed(kernels):
        shortest = (shortest - 1) * stride + width
    # Below two windows of the first layer, group norm has nothing to normalise.
    samples = speech(batch, shortest + strides[0] + extra)
    with torch.no_grad():
        close(stem.encode(encoder, samples, way).transpose(1, 2), plain(encoder, samples), 1e-4)


def test_the_folded_norm_is_exact_for_badly_conditioned_windows() -> None:
    """A tone far below the filters' differences: in fp32, the variance would be rounding error."""
    encoder = encoder_of()
    slow = torch.sin(torch.arange(16000) / 400)[None] * 3
    with torch.no_grad():
        weight = encoder.conv_layers[0].conv.weight
        weight -= weight.mean(dim=2, keepdim=True)
        exact = plain(encoder.double(), slow.double())
        encoder.float()
        found = stem.encode(encoder, slow, "products").transpose(1, 2)
        usual = plain(encoder, slow)
    assert (found - exact).abs().max() <= 2 * (usual - exact).abs().max() + 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_silence_is_finite_and_equal(way: str) -> None:
    encoder = encoder_of()
    silence = torch.zeros(2, 4000)
    with torch.no_grad():
        close(stem.encode(encoder, silence, way).transpose(1, 2), plain(encoder, silence))


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_clips_frames_do_not_depend_on_its_batch(norm: str, dtype: torch.dtype) -> None:
    encoder = encoder_of(feat_extract_norm=norm)
    samples = speech(4, 5000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        together = stem.encode(encoder, samples, "products")
        assert together.dtype == dtype
        for clip, frames in zip(samples, together, strict=True):
            torch.testing.assert_close(stem.encode(encoder, clip[None], "products")[0], frames, atol=0, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_bf16_is_as_close_to_fp32_as_autocast(way: str) -> None:
    encoder = encoder_of(channels=32)
    samples = speech(8, 8000)
    with torch.no_grad():
        exact = plain(encoder, samples)
        with torch.autocast("cpu", torch.bfloat16):
            found = stem.encode(encoder, samples, way).transpose(1, 2)
            usual = plain(encoder, samples)
    assert (found - exact).abs().mean() <= 1.05 * (usual - exact).abs().mean()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["wav2vec2, group norm", "wav2vec2, group norm, biases", "wav2vec2, layer norm"])
def test_gradients_are_those_of_transformers(kind: str, way: str) -> None:
    name, fields = KINDS[kind]
    encoder = encoder_of(name, **fields)
    samples = speech(2, 4000)
    gradients = []
    for out in (plain(encoder, samples), stem.encode(encoder, samples, way).transpose(1, 2)):
        loss = (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum()
        gradients.append(torch.autograd.grad(loss, list(encoder.parameters())))
    # Group norm removes the bias before it, so one gradient is only rounding errors.
    largest = max(float(gradient.abs().max()) for gradient in gradients[0])
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5 * largest, rtol=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_a_step_in_training_changes_what_is_encoded_next(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused optimiser steps do not mark the weights as changed."""
    force(monkeypatch, way)
    encoder = encoder_of()
    samples = speech(1, 4000)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, fused=True)
    with torch.no_grad():
        before = stem.forward(encoder, samples)
    stem.forward(encoder, samples).sum().backward()
    optimizer.step()
    with torch.no_grad():
        after = stem.forward(encoder, samples)
        close(after, plain(encoder, samples))
    assert not torch.equal(before, after)


def test_what_it_does_not_know_is_left_to_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, "products")
    monkeypatch.setattr(stem, "encode", lambda *_: pytest.fail("computed"))
    padded, double, asked = encoder_of(), encoder_of().double(), encoder_of()
    padded.conv_layers[1].conv.padding = (1,)
    for encoder in (padded, double):
        assert not stem.supports(encoder)
        assert stem.way_of(encoder, "fp32") == "plain"
    with torch.no_grad():
        assert torch.equal(stem.forward(padded, speech(1, 4000)), plain(padded, speech(1, 4000)))
    # Whoever wants the gradient of the samples gets it.
    samples = speech(1, 4000).requires_grad_()
    stem.forward(asked, samples).sum().backward()
    assert samples.grad is not None
    assert samples.grad.abs().max() > 0


def test_an_export_sees_transformers_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, "products")
    monkeypatch.setattr(stem, "encode", lambda *_: pytest.fail("computed"))
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    encoder = encoder_of()
    with torch.no_grad():
        assert torch.equal(stem.forward(encoder, speech(1, 4000)), plain(encoder, speech(1, 4000)))


def test_without_fused_convolutions_it_computes_in_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from serlab.approaches import made

    monkeypatch.setattr(made, "_FUSED", ("_no_such_operation",))
    assert not made.fuses()
    encoder = encoder_of()
    with torch.no_grad():
        close(stem.encode(encoder, speech(2, 4000), "convolutions").transpose(1, 2), plain(encoder, speech(2, 4000)))


@pytest.mark.parametrize("way", ["plain", *WAYS])
def test_the_way_is_timed_once_and_is_part_of_the_front_ends_configuration(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serlab.frontends.encoders import Convolutional

    force(monkeypatch, way)
    encoder = encoder_of()
    assert stem.way_of(encoder, "fp32") == way
    front = Convolutional(
        encoder, fingerprint="a", do_normalise=True, precision="fp32", way=stem.way_of(encoder, "fp32")
    )
    assert front.config["way"] == way
