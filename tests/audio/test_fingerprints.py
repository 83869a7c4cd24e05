"""Fingerprints: the bits of frames, and the least certain ones."""

from __future__ import annotations

import numpy as np
from benchmarks.copies import noisy
from tests.recordings.conftest import low, take

from serlab.audio.fingerprints import BITS, HOP, WEAKEST, fingerprint, weakest
from serlab.audio.fingerprints import RATE as LOW

SOUND = low(take(3, 0))


def test_a_fingerprint_has_a_number_of_28_bits_every_8_ms() -> None:
    prints = fingerprint(SOUND)
    assert prints.dtype == np.uint32
    assert prints.shape == (2, (len(SOUND) - 1536) // HOP - 7)
    assert prints[0].max() < 2**BITS
    assert fingerprint(SOUND[:1700]).shape == (2, 0)


def test_the_level_changes_nothing() -> None:
    np.testing.assert_array_equal(fingerprint(8 * SOUND), fingerprint(SOUND))


def test_silence_has_no_certain_bit_and_breaks_nothing() -> None:
    assert not fingerprint(np.zeros(LOW, np.float32))[0].any()


def test_the_weak_bits_of_a_frame_are_six_different_ones() -> None:
    places = fingerprint(SOUND)[1]
    values = np.stack([weakest(places, rank) for rank in range(WEAKEST)])
    assert (np.bitwise_count(np.bitwise_or.reduce(values)) == WEAKEST).all()
    assert values.max() < 2**BITS


def test_bits_that_noise_turns_are_mostly_the_weak_ones() -> None:
    before, after = (fingerprint(low(sound)) for sound in (take(3, 0), noisy(take(3, 0))))
    turned = before[0] ^ after[0]
    weak = np.bitwise_or.reduce(np.stack([weakest(before[1], rank) for rank in range(WEAKEST)]))
    assert turned.any()
    assert np.bitwise_count(turned & weak).sum() > 0.8 * np.bitwise_count(turned).sum()
