"""The index finds what agrees but for weak bits, and its work stays about the same for each clip."""

from __future__ import annotations

import numpy as np

from serlab.audio.fingerprints import BITS, WEAKEST, Print, weakest
from serlab.recordings import index

FRAMES = 150


def a_print(random: np.random.Generator, frames: int = FRAMES) -> Print:
    """Bits that hold on for ten frames, as those of sounds do, and six weak places each."""
    bits = np.repeat(random.integers(1, 2**BITS - 1, -(-frames // 10)), 10)[:frames]
    ranks = np.argsort(random.random((frames, BITS)), axis=1)[:, :WEAKEST]
    return np.stack([bits, (ranks << 5 * np.arange(WEAKEST)).sum(axis=1)]).astype(np.uint32)


def turned(each: Print, ranks: int) -> Print:
    """The same with its so many weakest bits turned."""
    bits = each[0].copy()
    for rank in range(ranks):
        bits ^= weakest(each[1], rank)
    return np.stack([bits, each[1]])


def test_a_copy_is_found_at_any_offset_with_all_its_weak_bits_turned() -> None:
    random = np.random.default_rng(0)
    prints = [a_print(random) for _ in range(40)]
    copies = [turned(each, WEAKEST)[:, shift:] for shift, each in enumerate(prints)]
    assert index.candidates(prints + copies) == [(place, place + 40) for place in range(40)]
    before = [np.concatenate([a_print(random, 17), each], axis=1) for each in prints]
    assert index.candidates(before + prints) == [(place, place + 40) for place in range(40)]


def test_other_sounds_silence_and_nothing_are_not_candidates() -> None:
    random = np.random.default_rng(1)
    silence = np.zeros((2, FRAMES), np.uint32)
    nothing = np.zeros((2, 0), np.uint32)
    assert index.candidates([*(a_print(random) for _ in range(30)), silence, silence, nothing, nothing]) == []
    assert index.candidates([]) == []


def test_a_short_piece_in_common_is_not_the_same_recording() -> None:
    random = np.random.default_rng(2)
    one, other = a_print(random), a_print(random)
    other[:, :30] = one[:, :30]
    assert index.candidates([one, other]) == []


def test_what_is_found_does_not_depend_on_how_much_is_looked_up_at_once(monkeypatch) -> None:
    random = np.random.default_rng(3)
    prints = [a_print(random) for _ in range(30)]
    prints += [turned(each, 4) for each in prints[:10]]
    found = index.candidates(prints)
    monkeypatch.setattr(index, "_AT_ONCE", 2**12)
    assert index.candidates(prints) == found == [(place, place + 30) for place in range(10)]


def test_the_more_frames_the_fewer_bits_are_forgiven(monkeypatch) -> None:
    random = np.random.default_rng(4)
    prints = [a_print(random) for _ in range(20)]
    prints += [turned(each, 3) for each in prints[:5]] + [turned(each, 6) for each in prints[5:10]]
    assert len(index.candidates(prints)) == 10
    monkeypatch.setattr(index, "_FRAMES_OF_ALL_WEAK", 2 * 20 * FRAMES // 8)
    assert index.candidates(prints) == [(place, place + 20) for place in range(5)]
