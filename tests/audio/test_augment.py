import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serlab.audio.augment import View, apply, mix, spec_augment
from serlab.core import MachineError, UserError
from serlab.core.randomness import keyed

waveforms = hnp.arrays(np.float32, st.integers(1, 4000), elements=st.floats(-1, 1, width=32))


def tone(hertz, seconds=1.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)


def peak_hertz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2**17))
    return spectrum.argmax() * 16_000 / 2**17


@given(waveforms)
def test_the_default_view_changes_nothing(samples):
    changed = apply(samples, View(), keyed(0))
    assert np.array_equal(changed, samples)
    assert changed is not samples


@given(waveforms, st.sampled_from([View(noise=0.01, time_mask=300), View(speed=1.1, gain=0.5), View(pitch=2.0)]))
@settings(max_examples=30)
def test_a_view_is_keyed_and_leaves_its_input_alone(samples, view):
    before = samples.copy()
    one, again = (apply(samples, view, keyed(0, "clip")) for _ in range(2))
    assert np.array_equal(one, again)
    assert np.array_equal(samples, before)
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert len(one) == len(samples) or view.speed != 1


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.25])
def test_speed_moves_tempo_and_pitch_together(speed):
    changed = apply(tone(440), View(speed=speed), keyed(0))
    assert len(changed) == round(16_000 / speed)
    assert peak_hertz(changed) == pytest.approx(440 * speed, rel=2e-3)


def test_pitch_keeps_length_place_and_level():
    changed = apply(tone(440), View(pitch=2), keyed(0))
    assert len(changed) == 16_000
    assert peak_hertz(changed) == pytest.approx(440 * 2 ** (2 / 12), rel=5e-3)
    assert np.sqrt(np.square(changed[4000:12_000]).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    click = np.zeros(16_000, np.float32)
    click[8000] = 1
    energy = np.square(apply(click, View(pitch=2), keyed(0)))
    assert (energy * np.arange(16_000)).sum() / energy.sum() == pytest.approx(8000, abs=160)


def test_pitch_does_not_depend_on_earlier_clips():
    alone = apply(tone(300), View(pitch=-3), keyed(0))
    apply(tone(700), View(pitch=-3), keyed(0))
    assert np.array_equal(apply(tone(300), View(pitch=-3), keyed(0)), alone)


def test_gain_may_leave_full_scale():
    assert np.abs(apply(tone(440), View(gain=5), keyed(0))).max() == pytest.approx(1.5, rel=1e-5)


def test_noise_has_the_given_deviation_after_the_gain():
    added = apply(tone(440), View(gain=2, noise=0.01), keyed(0)) - 2 * tone(440)
    assert added.std() == pytest.approx(0.01, rel=0.03)
    assert abs(added.mean()) < 5e-4
    other = apply(tone(440), View(gain=2, noise=0.01), keyed(1)) - 2 * tone(440)
    assert abs(np.corrcoef(added, other)[0, 1]) < 0.05


@given(st.integers(1, 5000), st.integers(0, 3000), st.integers(0, 50))
def test_time_mask_is_one_stretch_of_at_most_half_the_clip(length, mask, key):
    samples = np.ones(length, np.float32)
    silent = np.flatnonzero(apply(samples, View(time_mask=mask, noise=0.0), keyed(key)) == 0)
    assert silent.size == min(mask, length // 2)
    assert silent.size == 0 or silent[-1] - silent[0] + 1 == silent.size


def test_the_mask_comes_last_so_that_noise_does_not_fill_it():
    assert (apply(tone(440), View(noise=0.01, time_mask=2000), keyed(0)) == 0).sum() == 2000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("speed", 0.4),
        ("pitch", float("nan")),
        ("gain", 0),
        ("gain", float("inf")),
        ("noise", -0.1),
        ("time_mask", -1),
        ("time_mask", 20.5),
        ("speed", "fast"),
        ("noise", True),
    ],
)
def test_an_impossible_view_is_refused_by_its_field(field, value):
    with pytest.raises(UserError, match=f"^{field} of an augmentation view"):
        View(**{field: value})


def test_pitch_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_stretch", None)
    with pytest.raises(MachineError, match=r"serlab\[augment\]"):
        apply(tone(440), View(pitch=2), keyed(0))


MILD = {"time_masks": 2, "time_width": 16, "band_masks": 2, "band_width": 8}


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 80), st.integers(1, 40)), elements=st.floats(0, 1, width=32)),
    st.integers(0, 3),
    st.integers(0, 20),
    st.integers(0, 3),
    st.integers(0, 10),
    st.integers(0, 99),
)
def test_masks_are_whole_frames_and_bands_and_bounded(features, time_masks, time_width, band_masks, band_width, key):
    setting = {
        "time_masks": time_masks,
        "time_width": time_width,
        "band_masks": band_masks,
        "band_width": band_width,
        "fill": -1.0,
    }
    before = features.copy()
    masked = spec_augment(features, keyed(key), **setting)
    assert np.array_equal(features, before)
    assert np.array_equal(masked, spec_augment(features, keyed(key), **setting))
    hidden = masked == -1
    frames, bands = hidden.all(axis=1), hidden.all(axis=0)
    if not hidden.all():
        assert frames.sum() <= time_masks * time_width
        assert bands.sum() <= band_masks * band_width
    assert np.array_equal(hidden, frames[:, None] | bands[None, :])
    assert np.array_equal(masked[~hidden], features[~hidden])


def test_masks_reach_their_largest_width_and_both_ends():
    features = np.ones((200, 80), np.float32)
    setting = {"time_masks": 1, "time_width": 16, "band_masks": 1, "band_width": 8, "fill": 0.0}
    masked = np.stack([spec_augment(features, keyed(key), **setting) for key in range(3000)]) == 0
    frames, bands = masked.all(axis=2), masked.all(axis=1)
    assert np.array_equal(np.unique(frames.sum(axis=1)), np.arange(17))
    assert np.array_equal(np.unique(bands.sum(axis=1)), np.arange(9))
    assert frames.any(axis=0).all()
    assert bands.any(axis=0).all()
    assert frames.sum(axis=1).mean() == pytest.approx(8, abs=0.4)


def test_negative_masks_are_refused():
    with pytest.raises(UserError, match="band_width"):
        spec_augment(np.ones((4, 4), np.float32), keyed(0), **{**MILD, "band_width": -1}, fill=0.0)


@given(st.integers(1, 64), st.floats(0.05, 4), st.integers(0, 99))
def test_mixup_lets_the_example_itself_prevail(size, alpha, key):
    weights, partner = mix(keyed(key), size, alpha)
    assert weights.shape == (size,)
    assert ((weights >= 0.5) & (weights <= 1)).all()
    assert np.array_equal(np.sort(partner), np.arange(size))
    again = mix(keyed(key), size, alpha)
    assert np.array_equal(again[0], weights)
    assert np.array_equal(again[1], partner)


def test_mixup_weights_follow_the_folded_beta():
    weights, _ = mix(keyed(0), 20_000, 1.0)
    assert weights.mean() == pytest.approx(0.75, abs=0.01)
    assert (weights < 0.6).mean() == pytest.approx(0.2, abs=0.02)


def test_alpha_of_zero_mixes_nothing_and_a_negative_one_is_refused():
    assert (mix(keyed(0), 8, 0.0)[0] == 1).all()
    for alpha in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="alpha of mixup"):
            mix(keyed(0), 8, alpha)
