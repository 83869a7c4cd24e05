"""Mel filters: transformers' own, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.audio_utils import mel_filter_bank

from serlab.frontends.mel import filter_bank


@pytest.mark.filterwarnings("ignore:At least one mel filter", "ignore:.*mel bands are empty")
@given(half=st.integers(64, 1024), bands=st.integers(1, 40), low=st.floats(0, 3000), width=st.floats(2000, 5000))
def test_filters_are_transformers(half: int, bands: int, low: float, width: float) -> None:
    theirs = mel_filter_bank(half + 1, bands, low, low + width, 16000, norm="slaney", mel_scale="slaney")
    # A compiler may order the arithmetic otherwise, so equality is up to rounding here and exact below.
    np.testing.assert_allclose(filter_bank(2 * half, bands, low, low + width), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("n_fft", "bands", "low"), [(512, 40, 0.0), (512, 80, 50.0), (1024, 64, 0.0)])
def test_usual_filters_are_the_same_bits(n_fft: int, bands: int, low: float) -> None:
    theirs = mel_filter_bank(n_fft // 2 + 1, bands, low, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    np.testing.assert_array_equal(filter_bank(n_fft, bands, low, 8000.0), theirs)


def test_bands_between_two_bins_are_named() -> None:
    with pytest.warns(UserWarning, match="of 128 mel bands are empty.*use fewer bands"):
        filter_bank(256, 128, 0.0, 8000.0)
