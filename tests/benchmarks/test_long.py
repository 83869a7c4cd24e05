"""The joined recording and its reference, and the benchmark that is done once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from benchmarks.joined import Section, join

from benchmarks import long
from serlab.audio import SAMPLE_RATE, Audio
from serlab.core.files import write_json
from serlab.corpora import load_corpus
from serlab.evaluation.diarization import Span
from serlab.model.segments import Segmenter, Segmenting
from serlab.tables import ledger


@pytest.fixture
def clips(tiny_corpus):
    return load_corpus(str(tiny_corpus)).clips


def test_each_span_of_the_reference_is_a_clip_with_its_label(clips, tmp_path):
    path = tmp_path / "joined.wav"
    sections = join(clips, 60, 0, path)
    samples, rate = soundfile.read(path, dtype="float32")
    assert (rate, len(samples)) == (SAMPLE_RATE, 60 * SAMPLE_RATE)
    assert sorted(section.speaker for section in sections) == sorted(clips["speaker"].unique())
    known = {(row.speaker, row.label): [] for row in clips.itertuples()}
    for row in clips.itertuples():
        known[row.speaker, row.label].append(Audio.from_file(row.path).samples)
    heard = 0
    for section in sections:
        assert section.end - section.start == pytest.approx(60 / len(sections))
        *spans, rest = section.spans
        assert (rest.end, rest.label) == (pytest.approx(section.end - section.start), None)
        for span in spans:
            start = round((section.start + span.start) * SAMPLE_RATE)
            there = samples[start : start + round((span.end - span.start) * SAMPLE_RATE)]
            assert any(
                len(clip) == len(there) and np.allclose(clip, there, atol=1e-4)
                for clip in known[section.speaker, span.label]
            )
            heard += 1
        assert all(0.2 <= b.start - a.end <= 4 for a, b in pairwise(spans))
    assert heard > len(sections)
    again = tmp_path / "again.wav"
    assert join(clips, 60, 0, again) == sections
    assert again.read_bytes() == path.read_bytes()
    assert join(clips, 60, 1, again) != sections


def test_a_section_has_its_part_of_the_spans():
    section = Section("a", 10, 20, ())
    spans = [Span(0, 10, "sad"), Span(8, 12, "calm"), Span(15, 30, "sad"), Span(20, 25, "calm")]
    assert section.cut(spans) == [Span(0, 2, "calm"), Span(5, 10, "sad")]


@pytest.mark.parametrize("smoothing", long.SMOOTHINGS)
def test_smoothing_afterwards_is_that_of_the_segmenter(smoothing):
    rows = list(np.random.default_rng(0).dirichlet([1, 1, 1], 40))
    noise = np.random.default_rng(0).normal(0, 0.1, 40 * 1600).astype(np.float32)
    noise[8000:9600] = 0

    def segments(how: Segmenting):
        left = iter(rows)
        one = Segmenter(how, ("a", "b", "c"), lambda windows: [next(left) for _ in windows], lambda _: True)
        return [*one.feed(noise), *one.flush()]

    how = Segmenting(window=0.1, hop=0.1, vad="none", smoothing=smoothing)
    plain = segments(Segmenting(window=0.1, hop=0.1, vad="none"))
    expected = long.timeline([Span(one.start, one.end, one.label) for one in segments(how)])
    assert long.smoothed(plain, how, ("a", "b", "c")) == expected


def test_ten_times_the_recording(tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, np.arange(SAMPLE_RATE, dtype=np.int16), SAMPLE_RATE)
    long.repeated(source, 3, target)
    assert soundfile.read(target, dtype="int16")[0].tolist() == [*range(SAMPLE_RATE)] * 3


def test_the_test_hour_is_not_predicted_twice(tmp_path, monkeypatch, capsys):
    work = object.__new__(long.Work)
    about = {"recipe": "r", "hash": "h", "corpus": "c", "protocol": "p", "fold": 3, "seed": 0}
    work.found = {"model": about, "chosen": {"window": 2.0, "hop": 1.0, "vad": "none", "smoothing": 5}}
    ledger.enter(tmp_path, {**about, "note": "an hour joined from test clips, seed 0: --window 3"})
    monkeypatch.setattr(long, "predict", lambda *_: pytest.fail("predicted"))
    work.judge(tmp_path)
    assert "has been predicted already" in capsys.readouterr().err
    assert len(ledger.read(tmp_path)) == 1


def test_a_result_of_another_model_is_refused(tmp_path, monkeypatch, tiny_models):
    monkeypatch.setattr(long, "RESULT", tmp_path / "long.json")
    write_json(tmp_path / "long.json", {"model": {"recipe": "another"}})
    with pytest.raises(long.UserError, match="is of another model; delete it"):
        long.main([str(tiny_models["mfcc-svm"])])


def test_the_committed_table_is_that_of_the_committed_result():
    found = long.read_json(long.RESULT)
    page = Path(long.PAGE).read_text(encoding="utf-8")
    assert long.render(found) in page
    assert found["chosen"] == {
        key: min(found["dev"], key=lambda row: row["eder"])[key] for key in ("window", "hop", "vad", "smoothing")
    }
