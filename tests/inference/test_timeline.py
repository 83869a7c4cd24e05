"""What pictures of a recording show: its waveform and probabilities in columns, as a page and as PNG."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from serlab.core import MachineError, UserError
from serlab.inference.page import moment, render, write_page
from serlab.inference.picture import write_picture
from serlab.inference.timeline import Timeline, envelope, timeline_of
from serlab.model.prediction import Prediction
from serlab.model.segments import Segment
from serlab.report.svg import label_colour

LABELS = ("calm", "</script>")
RATE = 16000


def segment(start: float, share: float | None, *, sure: bool = True) -> Segment:
    """Three seconds; without speech if there is no share of the first label."""
    if share is None:
        return Segment(start, start + 3, None, {}, False)
    shares = dict(zip(LABELS, (share, 1 - share), strict=True))
    return Segment(start, start + 3, max(shares, key=shares.get) if sure else None, shares, True)


@pytest.fixture
def recording(tmp_path) -> Path:
    """Nine seconds; quiet but for the fourth."""
    path = tmp_path / "a <b> é.wav"
    samples = np.full(9 * RATE, 0.01)
    samples[3 * RATE : 4 * RATE] = -0.5
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def prediction(recording) -> Prediction:
    shares = [0.9, 0.8, 0.3, None, None, 0.7, 0.6]
    segments = [segment(start, share, sure=start != 6) for start, share in enumerate(shares)]
    return Prediction("calm", dict(zip(LABELS, (0.66, 0.34), strict=True)), str(recording), tuple(segments))


@pytest.fixture
def timeline(prediction) -> Timeline:
    return timeline_of(prediction, LABELS, 18)


@given(cuts=st.lists(st.integers(0, 100), max_size=9), columns=st.integers(1, 30))
def test_the_waveform_has_the_largest_sample_of_each_part_whatever_the_pieces(cuts, columns):
    samples = np.random.default_rng(0).uniform(-1, 1, 100).astype(np.float32)
    found = envelope(np.split(samples, sorted(cuts)), 100, columns)
    owner = np.arange(100) * columns // 100
    assert found == pytest.approx([np.abs(samples[owner == column]).max() for column in range(columns)])


def test_each_moment_has_the_segment_with_the_nearest_middle(timeline):
    assert timeline.seconds == 9
    assert np.argmax(timeline.waveform) in (6, 7)
    # Middles are at 1.5, 2.5, ...; columns last half a second.
    first = timeline.probabilities[:, 0]
    expected = [0.9] * 4 + [0.8] * 2 + [0.3] * 2 + [np.nan] * 4 + [0.7] * 2 + [0.6] * 4
    np.testing.assert_allclose(first, expected)
    assert [(span.start, span.end, span.label) for span in timeline.spans] == [
        (0, 3, "calm"),
        (3, 4, "</script>"),
        (4, 6, "no speech"),
        (6, 7, "calm"),
        (7, 9, "can't tell"),
    ]


def test_a_column_of_many_segments_is_the_mean_of_those_with_speech(prediction):
    coarse = timeline_of(prediction, LABELS, 2)
    assert coarse.probabilities[:, 0] == pytest.approx([np.mean([0.9, 0.8, 0.3]), np.mean([0.7, 0.6])])


def test_a_page_is_one_file_that_may_run_its_own_script_alone(timeline, tmp_path, recording):
    target = tmp_path / "pages" / "a.html"
    write_page(timeline, target)
    page = target.read_text(encoding="utf-8")
    assert 'src="../a%20%3Cb%3E%20%C3%A9.wav"' in page
    assert "a &lt;b&gt; é.wav" in page
    assert page.count("</script>") == 2
    assert "://" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    script = re.search(r"<script>(.*)</script>\n</body>", page, re.DOTALL)[1]
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["spans"][1] == [3, "</script>"]
    assert (data["columns"][0], data["columns"][9]) == ([0.9, 0.1], None)
    assert page.count('fill="url(#hatch)"') == 1
    assert page.count('fill="var(--quiet)"') == 4
    assert "can't tell</li>" in page.replace("&#39;", "'")
    assert "calm</strong>" not in page
    assert "<strong>calm (0.66)</strong>" in page


def test_one_segment_has_no_mean(tmp_path, recording):
    alone = Prediction("calm", {LABELS[0]: 0.9, LABELS[1]: 0.1}, str(recording), (segment(0, 0.9),))
    write_page(timeline_of(alone, LABELS, 18), tmp_path / "a.html", audio="none")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "One segment." in page
    assert "The mean over" not in page


def test_a_recording_without_speech_has_no_mean(recording):
    silent = Prediction(None, {}, str(recording), tuple(segment(start, None) for start in range(7)))
    page = render(timeline_of(silent, LABELS, 18))
    assert "None of the 7 segments has speech." in page
    assert "The mean over" not in page


def test_the_list_of_labels_tells_segments_of_one_second_apart(timeline, prediction):
    spans = timeline_of(prediction, LABELS, 18).spans
    moved = tuple(replace(one, start=one.start + 0.4, end=one.end + 0.4) for one in spans)
    page = render(replace(timeline, spans=moved))
    assert f">{moment(moved[0].start, 1)}</button>" in page
    assert f"<title>{moment(moved[0].start, 1)} to " in page
    assert moment(moved[0].start, 1).endswith(".4")


def test_sound_is_copied_into_the_page_only_when_asked(timeline, tmp_path, recording):
    for audio, phrase in (("embed", 'src="data:audio/x-wav;base64,UklGR'), ("none", None)):
        write_page(timeline, tmp_path / "a.html", audio=audio)
        page = (tmp_path / "a.html").read_text(encoding="utf-8")
        assert ("<audio" in page) == (phrase is not None)
        assert phrase is None or phrase in page
    recording.unlink()
    with pytest.raises(UserError, match="cannot embed"):
        write_page(timeline, tmp_path / "a.html", audio="embed")


def test_labels_beyond_the_palette_have_colours_too(timeline):
    labels = tuple(f"label {number}" for number in range(20))
    shares = np.full((18, 20), 0.05)
    page = render(Timeline(timeline.path, 9, timeline.waveform, labels, shares, timeline.spans, timeline.whole))
    assert page.count('<div class="lane">') == 20
    assert len(set(re.findall(r'<i style="background: ([^"]+)">', page))) == 20
    assert len({label_colour(place) for place in range(20)}) == 20


def test_a_picture_is_a_png_with_a_lane_per_label(timeline, tmp_path):
    write_picture(timeline, tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert np.frombuffer(content[16:24], ">u4").tolist() == [1500, 450]
    (tmp_path / "file").touch()
    with pytest.raises(MachineError):
        write_picture(timeline, tmp_path / "file" / "a.png")
