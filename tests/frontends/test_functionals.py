import json
import sys
import warnings

import numpy as np
import pytest
import soundfile

from serlab.core import MachineError, SerlabError, UserError
from serlab.frontends import functionals
from serlab.frontends.functionals import Egemaps, MfccStatistics

SECOND = 16_000


def speechlike(seconds=1.5, seed=0):
    """Harmonics of a gliding pitch in syllables, with a noise floor."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SECOND)) / SECOND
    phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 1.5 * time)) / SECOND
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.2 + 0.8 * np.sin(2 * np.pi * 3 * time) ** 2)
    return (0.1 * voice + 0.002 * rng.standard_normal(time.size)).astype(np.float32)


@pytest.fixture
def without_opensmile(monkeypatch):
    functionals._smile.cache_clear()
    monkeypatch.setitem(sys.modules, "opensmile", None)
    yield
    functionals._smile.cache_clear()


@pytest.mark.parametrize("front_end", [MfccStatistics(), Egemaps()], ids=["mfcc", "egemaps"])
class TestContract:
    def test_one_finite_vector_of_fixed_length(self, front_end):
        lengths = {front_end(speechlike(seconds)).shape for seconds in (0.1, 0.73, 2.0)}
        assert lengths == {(front_end(speechlike()).size,)}
        features = front_end(speechlike())
        assert features.dtype == np.float32
        assert np.isfinite(features).all()

    def test_depends_on_the_clip_alone(self, front_end):
        clip = speechlike()
        before = clip.copy()
        alone = front_end(clip)
        front_end(speechlike(0.5, seed=1))
        assert np.array_equal(front_end(clip), alone)
        assert np.array_equal(clip, before)
        assert not np.array_equal(front_end(speechlike(seed=2)), alone)

    def test_config_is_json_and_names_the_front_end(self, front_end):
        assert json.loads(json.dumps(front_end.config)) == front_end.config
        assert front_end.config["frontend"] in {"mfcc-statistics", "egemaps"}

    def test_silence_has_features(self, front_end):
        assert np.isfinite(front_end(np.zeros(SECOND, np.float32))).all()

    @pytest.mark.parametrize(
        "samples",
        [np.zeros(0, np.float32), np.full(SECOND, np.nan, np.float32), np.zeros((2, SECOND), np.float32)],
        ids=["empty", "nan", "stereo"],
    )
    def test_what_is_not_a_clip_is_an_error(self, front_end, samples):
        with pytest.raises(UserError, match="exclude the clip"):
            front_end(samples)


def librosa_mfcc(samples, **settings):
    librosa = pytest.importorskip("librosa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a test dependency's own deprecations
        return librosa.feature.mfcc(
            y=samples, sr=SECOND, n_fft=512, win_length=400, hop_length=160, pad_mode="constant", **settings
        ).T


def test_constants_are_scipys():
    dct = pytest.importorskip("scipy.fft").dct
    savgol = pytest.importorskip("scipy.signal").savgol_coeffs
    np.testing.assert_allclose(functionals.cosines(40, 20), dct(np.eye(40), axis=1, norm="ortho")[:, :20], atol=1e-15)
    for order in (1, 2):
        theirs = savgol(functionals.DELTA_WIDTH, order, deriv=order)[::-1]
        np.testing.assert_allclose(functionals.SLOPES[order], theirs, atol=1e-16)


@pytest.mark.parametrize("samples", [speechlike(), speechlike(0.31) * 1e-3, np.zeros(4000, np.float32)])
def test_mfcc_equals_librosa(samples):
    expected = librosa_mfcc(samples.astype(np.float64), n_mfcc=20, n_mels=40)
    assert np.abs(MfccStatistics().mfcc(samples) - expected).max() < 1e-6
    expected = librosa_mfcc(samples.astype(np.float64), n_mfcc=13, n_mels=64, norm="ortho")
    assert np.abs(MfccStatistics(n_mfcc=13, n_mels=64).mfcc(samples) - expected).max() < 1e-6


def test_statistics_equal_librosa_and_numpy():
    librosa = pytest.importorskip("librosa")
    static = librosa_mfcc(speechlike().astype(np.float64), n_mfcc=20, n_mels=40)
    deltas = [librosa.feature.delta(static, order=order, axis=0, mode="nearest") for order in (1, 2)]
    quantiles = [np.percentile(static, percent, axis=0) for percent in (5, 25, 50, 75, 95)]
    moments = [moment for delta in deltas for moment in (delta.mean(0), delta.std(0))]
    expected = np.concatenate([static.mean(0), static.std(0), *quantiles, *moments])
    assert np.abs(MfccStatistics()(speechlike()) - expected).max() < 1e-3


@pytest.mark.cremad
def test_mfcc_of_official_clips_equals_librosa(cremad_root):
    for path in sorted((cremad_root / "original_16khz").glob("*.wav"))[:5]:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == SECOND
        expected = librosa_mfcc(samples.astype(np.float64), n_mfcc=20, n_mels=40)
        assert np.abs(MfccStatistics().mfcc(samples) - expected).max() < 1e-6
        assert np.isfinite(Egemaps()(samples)).all()


def test_gain_moves_loudness_alone():
    quiet, loud = MfccStatistics()(speechlike()), MfccStatistics()(2 * speechlike())
    moved = np.flatnonzero(np.abs(loud - quiet) > 0.01)
    # mean and five quantiles of the 0th coefficient: 6.02 dB in each of 40 bands, times the DCT's 1
    # / sqrt(40)
    assert moved.tolist() == [0, 40, 60, 80, 100, 120]
    assert (loud - quiet)[moved] == pytest.approx(6.0206 * np.sqrt(40), rel=1e-4)


def test_every_setting_is_part_of_the_config_and_changes_the_output():
    default = MfccStatistics()
    changes = {"n_mfcc": 13, "n_mels": 64, "n_fft": 1024, "window": 512, "hop": 200, "top_db": 30.0}
    assert set(default.config) == {"frontend", *changes}
    for name, value in changes.items():
        other = MfccStatistics(**{name: value})
        assert other.config != default.config
        features = other(speechlike())
        assert features.shape != (220,) or not np.allclose(features, default(speechlike()))


def test_one_sample_is_enough_for_mfcc():
    features = MfccStatistics()(np.array([0.5], np.float32))
    assert features.shape == (220,)
    assert np.isfinite(features).all()


def test_egemaps_detects_pitch_and_loudness():
    egemaps = Egemaps()
    names = list(egemaps.feature_names)
    assert len(names) == 88
    pitch = names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    time = np.arange(SECOND) / SECOND
    low, high = (
        sum(np.sin(2 * np.pi * k * hertz * time) / k for k in range(1, 8)).astype(np.float32) * 0.1
        for hertz in (110, 220)
    )
    assert egemaps(low)[pitch] == pytest.approx(24, abs=0.2)
    assert egemaps(high)[pitch] == pytest.approx(36, abs=0.2)
    loudness = names.index("loudness_sma3_amean")
    assert egemaps(2 * low)[loudness] > egemaps(low)[loudness]


def test_egemaps_refuses_what_is_too_short():
    assert np.isfinite(Egemaps()(speechlike(0.06))).all()
    with pytest.raises(UserError, match=r"at least 0\.06 s"):
        Egemaps()(speechlike(0.059))


def test_a_functional_without_value_is_named(monkeypatch):
    class Broken:
        feature_names = ("loudness", "jitter")

        def __call__(self, samples, rate):
            return np.array([[[1.0], [np.nan]]])

    monkeypatch.setattr(functionals, "_smile", Broken)
    with pytest.raises(SerlabError, match="no finite jitter"):
        Egemaps()(speechlike())


def test_missing_extra_says_what_to_install_and_its_licence(without_opensmile):
    with pytest.raises(MachineError, match=r"non-commercial.*serlab\[opensmile\]"):
        Egemaps()(speechlike())
    assert Egemaps().config == {"frontend": "egemaps", "feature_set": "eGeMAPSv02"}
