"""Copies of a recording are found whatever was done to them, and other takes never are."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.copies import COPIES, TOGETHER, mp3, trimmed
from numpy.typing import NDArray
from tests.recordings.conftest import RATE, low, silent, take

from serlab.audio.fingerprints import fingerprint
from serlab.recordings import matching
from serlab.recordings.matching import aligned, same_recordings

VOICES = 8


def pairs_among(sounds: list[NDArray[np.float32]]) -> set[tuple[int, int]]:
    lows = [low(sound) for sound in sounds]
    found = same_recordings([fingerprint(samples) for samples in lows], lows.__getitem__)
    return {(pair.first, pair.second) for pair in found}


@pytest.mark.parametrize("kind", [*COPIES, *TOGETHER])
def test_a_copy_is_found(kind: str) -> None:
    sounds = [take(voice, 0) for voice in range(VOICES)]
    copies = [{**COPIES, **TOGETHER}[kind](sound) for sound in sounds]
    assert pairs_among(sounds + copies) == {(voice, voice + VOICES) for voice in range(VOICES)}


def test_twelve_readings_of_one_sentence_by_one_voice_are_twelve_recordings() -> None:
    assert pairs_among([take(1, reading) for reading in range(12)]) == set()


def test_an_offset_and_mains_hum_hide_no_duplicate() -> None:
    sound = take(1, 0)
    hum = 0.05 * np.sin(2 * np.pi * 50 * np.arange(len(sound)) / RATE)
    assert pairs_among([sound, sound + np.float32(0.1), (sound + hum).astype(np.float32)]) == {(0, 1), (0, 2), (1, 2)}


def test_a_clip_is_found_wherever_a_long_recording_has_it() -> None:
    around = take(7, 0, 40)
    inside = take(1, 0)
    around[25 * RATE : 25 * RATE + len(inside)] = inside
    assert pairs_among([around, inside]) == {(0, 1)}


def test_three_duplicates_are_three_pairs_and_the_order_does_not_matter() -> None:
    sounds = [take(1, 0), take(2, 0), mp3(take(1, 0)), trimmed(take(1, 0))]
    assert pairs_among(sounds) == {(0, 2), (0, 3), (2, 3)}
    assert pairs_among(sounds[::-1]) == {(0, 1), (0, 3), (1, 3)}


def test_silence_noise_and_short_clips_have_no_duplicates() -> None:
    random = np.random.default_rng(0)
    hiss = [random.normal(0, 0.1, 2 * RATE).astype(np.float32) for _ in range(4)]
    assert pairs_among([silent(RATE), silent(2 * RATE), *hiss, take(1, 0)[:3000], take(1, 0)[:3000]]) == set()
    assert pairs_among([]) == set()


def test_the_offset_is_that_of_the_silence_added() -> None:
    sound = low(take(3, 0))
    correlation, offset = aligned(np.concatenate([silent(1200), sound]), sound)
    assert correlation == pytest.approx(1, abs=1e-6)
    assert offset == pytest.approx(0.3)
    assert aligned(sound, sound[: len(sound) // 4])[0] == pytest.approx(1, abs=1e-6)
    assert aligned(sound[: len(sound) // 4], sound[-len(sound) // 4 :])[0] < 0.5


def noisy_copies(count: int) -> list[NDArray[np.float32]]:
    """One recording with another level, start and a little noise."""
    random, original, copies = np.random.default_rng(0), low(take(1, 0)), []
    for _ in range(count):
        noise = random.normal(0, 0.1 * original.std(), len(original))
        late = np.zeros(random.integers(0, 60))
        copies.append(np.concatenate([late, random.uniform(0.3, 1) * (original + noise)]).astype(np.float32))
    return copies


def test_copies_of_a_recording_are_compared_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = [*noisy_copies(24), low(take(2, 0))]
    compared = []
    compare = matching._compare

    def counted(first: NDArray[np.float32], second: NDArray[np.float32]) -> object:
        compared.append(len(first))
        return compare(first, second)

    monkeypatch.setattr(matching, "_compare", counted)
    found = same_recordings([fingerprint(samples) for samples in sounds], sounds.__getitem__)
    assert {(pair.first, pair.second) for pair in found} == {(a, b) for b in range(24) for a in range(b)}
    assert len(compared) <= 2 * len(sounds)
    for pair in found:
        correlation, offset = aligned(sounds[pair.first], sounds[pair.second])
        assert matching.SAME <= pair.correlation <= correlation + 1e-3
        assert pair.offset == pytest.approx(offset, abs=2 / 4000)
