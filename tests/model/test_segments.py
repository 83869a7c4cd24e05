"""Long recordings: the segments, their content, and constant memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab import Model, Prediction, load_model
from serlab.audio import Audio, AudioError, Limits
from serlab.core import UserError
from serlab.model.segments import Segment, Segmenter, Segmenting

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")
RATE = 16000
SETTINGS = {"window": 0.5, "hop": 0.2, "vad": "none"}


@pytest.fixture(autouse=True)
def usual_window(monkeypatch):
    """The tiny clips are too short to be windows."""
    monkeypatch.setattr("serlab.model.inputs.Inputs.window", 3.0)


@pytest.fixture(scope="module")
def models(tiny_models) -> dict[str, Model]:
    return {name: load_model(tiny_models[name], precision="fp32") for name in NAMES}


@pytest.fixture
def svm(models) -> Model:
    return models["mfcc-svm"]


def sound(seconds: float, rate: int = RATE, hz: float = 480) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * hz * time) + 0.02 * np.random.default_rng(0).standard_normal(len(time))


def shares(one: Prediction | Segment) -> list[float]:
    return list(one.probabilities.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rate", "channels", "ending", "how"),
    [
        (8000, 1, "wav", {"subtype": "PCM_16"}),
        (16000, 2, "flac", {}),
        (44100, 1, "ogg", {"format": "OGG", "subtype": "VORBIS"}),
        (48000, 2, "mp3", {}),
    ],
)
def test_with_the_window_of_its_length_a_clip_is_one_segment_on_every_way_in(
    models, tiny_models, serlab, tmp_path, name, rate, channels, ending, how, one_thread
):
    model, path = models[name], tmp_path / f"a.{ending}"
    soundfile.write(path, np.stack([sound(0.73, rate)] * channels, axis=1), rate, **how)
    whole = model.predict(path)
    # What the decoder gives, for those ways that take arrays.
    samples = soundfile.read(path, dtype="float32", always_2d=True)[0]
    window = len(samples) / rate
    options = {"window": window, "vad": "none"}
    cuts = np.sort(np.random.default_rng(0).integers(0, len(samples), 20))
    stream = model.stream(rate, **options)
    live = [one for piece in np.split(samples, cuts) for one in stream.feed(piece)] + stream.flush()
    command = ("predict", "--model", tiny_models[name], "--precision", "fp32", "--format", "json", "--vad", "none")
    ended = serlab(*command, "--window", window, path)
    (printed,) = json.loads(ended.out)["predictions"]
    ways = {
        "path": list(model.segments(path, **options)),
        "array": list(model.segments(samples, rate, **options)),
        "audio": list(model.segments(Audio.from_file(path), **options)),
        "generator": list(model.segments(iter(np.split(samples, cuts)), rate, **options)),
        "stream": live,
        "list": list(model.predict([path, path], **options)[1].segments),
        "command line": [Segment(**one) for one in printed["segments"]],
    }
    for way, found in ways.items():
        assert [(one.start, one.label, one.speech) for one in found] == [(0, whole.label, True)], way
        assert found[0].end == pytest.approx(window, abs=1e-4)
        np.testing.assert_allclose(shares(found[0]), shares(whole), rtol=0, atol=1e-4, err_msg=way)
    for summary in (model.predict(path, **options), Prediction(printed["label"], printed["probabilities"])):
        assert summary.label == whole.label
        np.testing.assert_allclose(shares(summary), shares(whole), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_each_segment_is_the_prediction_of_its_stretch(models, name, one_thread):
    model = models[name]
    samples = np.concatenate([sound(0.9, hz=150), sound(0.85, hz=1500)])
    found = list(model.segments(samples, RATE, **SETTINGS))
    ends = [(segment.start, segment.end) for segment in found]
    assert ends == [(pytest.approx(0.2 * i), pytest.approx(0.2 * i + 0.5)) for i in range(7)] + [
        (pytest.approx(1.25), pytest.approx(1.75))
    ]
    for segment in found:
        stretch = samples[round(segment.start * RATE) : round(segment.end * RATE)]
        expected = model.predict(stretch, RATE)
        assert segment.label == expected.label
        np.testing.assert_allclose(shares(segment), shares(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, [(0, 0.1)]),
        (0.49, [(0, 0.49)]),
        (0.5, [(0, 0.5)]),
        (0.6, [(0, 0.5), (0.1, 0.6)]),
        (0.7, [(0, 0.5), (0.2, 0.7)]),
        (0.71, [(0, 0.5), (0.2, 0.7), (0.21, 0.71)]),
    ],
)
def test_every_moment_is_covered_to_the_end(svm, seconds, expected):
    found = [(segment.start, segment.end) for segment in svm.segments(sound(seconds), RATE, **SETTINGS)]
    assert found == [(pytest.approx(start), pytest.approx(end)) for start, end in expected]


def test_a_recording_over_30_seconds_never_gets_a_label_alone(svm, tmp_path, make_tone):
    long = make_tone(tmp_path / "long.wav", seconds=30.5)
    short = make_tone(tmp_path / "short.wav", seconds=30)
    whole, clip = svm.predict([long, short], vad="none")[0], svm.predict(short)
    assert clip.segments == ()
    assert (len(whole.segments), whole.segments[-1].end, whole.path) == (29, 30.5, str(long))
    np.testing.assert_allclose(shares(whole), np.mean([shares(one) for one in whole.segments], axis=0))
    assert whole.label == max(whole.probabilities, key=whole.probabilities.get)
    together = svm.predict([short, long, short])
    assert [len(one.segments) for one in together] == [0, 29, 0]
    samples, rate = soundfile.read(long)
    limits = Limits(max_seconds=60)
    for found in (svm.predict(samples, rate), svm.predict(Audio.from_array(samples, rate, limits=limits))):
        assert found.segments == together[1].segments


def test_silence_and_pauses_have_no_label(svm):
    pause = np.zeros(4 * RATE)
    samples = np.concatenate([sound(2), pause, sound(2)])
    for vad in ("none", "energy"):
        found = list(svm.segments(samples, RATE, window=1, vad=vad))
        assert [one.speech for one in found] == [True, True, False, False, False, False, True, True]
        for one in found:
            assert bool(one.label) == bool(one.probabilities) == one.speech
    nothing = svm.predict(np.zeros(31 * RATE), RATE)
    assert (nothing.label, nothing.probabilities, len(nothing.segments)) == (None, {}, 29)
    assert {(one.label, one.speech) for one in nothing.segments} == {(None, False)}


@pytest.mark.cremad
def test_silero_detects_speech_and_not_a_tone(svm, cremad_root, make_tone, tmp_path):
    speech = sorted((Path(cremad_root) / "AudioWAV").glob("1001_*"))[0]
    assert any(one.speech for one in svm.segments(speech, vad="silero", window=1, hop=0.5))
    tone = make_tone(tmp_path / "a.wav", seconds=3)
    assert not any(one.speech for one in svm.segments(tone, vad="silero", window=1))


def labels_of(rows: list[list[float] | None], smoothing: int) -> list[Segment]:
    """Segments of 0.1 s that a model scores like ``rows``; None for silence."""
    scored = iter(np.array(row) for row in rows if row is not None)
    how = Segmenting(window=0.1, hop=0.1, vad="none", smoothing=smoothing)
    segmenter = Segmenter(how, ("calm", "sad"), lambda windows: [next(scored) for _ in windows], lambda _: True)
    noise = np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32)
    found = [one for row in rows for one in segmenter.feed(0 * noise if row is None else noise)]
    return found + segmenter.flush()


def test_smoothing_is_the_median_over_neighbours_with_speech():
    rows = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], None, [0.6, 0.4], [0.9, 0.1]]
    assert [one.label for one in labels_of(rows, 1)] == ["calm", "sad", "calm", None, "calm", "calm"]
    smooth = labels_of(rows, 3)
    assert [one.label for one in smooth] == ["calm", "calm", "sad", None, "calm", "calm"]
    assert shares(smooth[1]) == pytest.approx([0.7, 0.3])
    assert shares(smooth[0]) == pytest.approx([0.55, 0.45])
    assert [one.start for one in smooth] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_abstention_is_per_segment(svm):
    sure = list(svm.segments(sound(2), RATE, window=1, vad="none"))
    scorer = svm._scorer(None, None, None, {"window": 1, "vad": "none"})
    unsure = Segmenter(scorer.segmenting, svm.labels, scorer._listening(None), lambda logits: False)
    for one, other in zip(sure, [*unsure.feed(sound(2).astype(np.float32)), *unsure.flush()], strict=True):
        assert (one.label is None, other.label) == (False, None)
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-6)
        assert other.speech


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"window": 0.05}, r"window=0\.05 is not between 0\.1 and 60 seconds"),
        ({"window": 61}, "window=61 is not between"),
        ({"window": float("nan")}, "window=nan is not between"),
        ({"hop": 0}, "hop=0 is not above 0 and at most the window of 3 s"),
        ({"window": 1, "hop": 2}, "hop=2 is not above 0 and at most the window of 1 s"),
        ({"vad": "loud"}, "unknown speech detector 'loud'"),
        ({"smoothing": 2}, "smoothing=2 is neither an odd number from 1 to 99 nor hmm"),
        ({"smoothing": 0}, "smoothing=0 is neither an odd number"),
        ({"smoothing": "viterbi"}, "smoothing=viterbi is neither an odd number"),
        ({"stay": 0.9}, "stay=0.9 is for smoothing=hmm"),
        ({"smoothing": "hmm", "stay": 1.0}, "stay=1.0 is not a probability between 0 and 1"),
        ({"windows": 3}, "there is no option windows"),
    ],
)
def test_options_that_cannot_be(svm, options, why):
    for ask in (svm.predict, svm.segments, lambda _, rate, **how: svm.stream(rate, **how)):
        with pytest.raises(UserError, match=why):
            ask(sound(1), RATE, **options)


BAD = {
    "empty": (np.zeros(0), RATE, "no samples"),
    "one sample": (np.ones(1), RATE, "shorter than 0.1 s"),
    "NaN": (np.full(RATE, np.nan), RATE, "non-finite samples"),
    "infinite": (np.full(40 * RATE, np.inf), RATE, "non-finite samples"),
    "integers as floats": (np.full(40 * RATE, 9.0), RATE, "a peak of 9"),
    "64 bits": (np.ones(40 * RATE, np.int64), RATE, "int64"),
    "shape": (np.ones((9, 40 * RATE)), RATE, r"shape \(9, 640000\)"),
    "0 Hz": (sound(1), 0, "sample rate of 0"),
    "no rate": (sound(1), None, "sample_rate is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_one_sentence(svm, case):
    samples, rate, why = BAD[case]
    for ask in (lambda: list(svm.segments(samples, rate)), lambda: svm.predict(samples, rate, window=1)):
        with pytest.raises(UserError, match=why) as caught:
            ask()
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


def test_bad_files_are_named(svm, tmp_path, make_tone):
    with pytest.raises(AudioError, match="a folder, not a file"):
        list(svm.segments(tmp_path))
    short = tmp_path / "short.wav"
    soundfile.write(short, np.ones(1), RATE)
    with pytest.raises(AudioError, match=r"short\.wav cannot be used: shorter than 0\.1 s"):
        list(svm.segments(short))
    cut = make_tone(tmp_path / "cut.flac", seconds=40)
    cut.write_bytes(cut.read_bytes()[:-300])
    with pytest.raises(AudioError, match=r"cut\.flac cannot be used: truncated"):
        svm.predict(cut)
    with pytest.raises(UserError, match="sample_rate=16000 is for arrays"):
        list(svm.segments(cut, RATE))


def test_channels_may_be_first_or_last(svm):
    samples = sound(31)
    expected = svm.predict(samples, RATE).segments
    for array in (np.stack([samples, samples]), np.stack([samples, samples]).T):
        assert svm.predict(array, RATE).segments == expected


def test_memory_does_not_grow_with_the_length():
    block = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    scored = np.array([0.5, 0.5])

    def peak(minutes: int) -> int:
        how = Segmenting(vad="energy", smoothing=5)
        segmenter = Segmenter(how, ("a", "b"), lambda windows: [scored] * len(windows), lambda _: True)
        tracemalloc.start()
        count = sum(len(segmenter.feed(block)) for _ in range(60 * minutes)) + len(segmenter.flush())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 60 * minutes - 2
        return most

    assert peak(30) < peak(1) + 100_000
