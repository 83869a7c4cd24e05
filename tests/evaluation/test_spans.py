"""Spans from files, and their evaluation over recordings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serlab.core import UserError
from serlab.evaluation.diarization import Span, evaluate_spans
from serlab.evaluation.spans import read_predicted, read_reference

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 5.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 5.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 5.5
            text = "one [2] 3"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 5.5
        points: size = 1
        points [1]:
            number = 1.5
            mark = "x"
    item [3]:
        class = "IntervalTier"
        name = "emotion"
        xmin = 0
        xmax = 5.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 2.25
            text = ""
        intervals [2]:
            xmin = 2.25
            xmax = 5.5
            text = "so-called ""sad"""
'''
SHORT = '"ooTextFile"\n"TextGrid"\n0\n5\n<exists>\n1\n"IntervalTier"\n"mood"\n0\n5\n1\n0\n5\n"sad"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_textgrids(tmp_path, encoding):
    path = tmp_path / "call 1.TextGrid"
    path.write_text(LONG, encoding=encoding)
    assert read_reference(path) == {"call 1": [Span(0, 2.25, None), Span(2.25, 5.5, 'so-called "sad"')]}
    path.write_text(SHORT, encoding=encoding)
    assert read_reference(path) == {"call 1": [Span(0, 5, "sad")]}


CUT, SHORT_OF_ONE = LONG[:-30], LONG.replace("size = 2", "size = 3")


@pytest.mark.parametrize("text", ["", "sad", CUT, SHORT_OF_ONE, LONG.replace("xmin", '"')])
def test_what_is_no_textgrid(tmp_path, text):
    path = tmp_path / "a.TextGrid"
    path.write_text(text)
    with pytest.raises(UserError, match="is not a whole TextGrid"):
        read_reference(path)


def test_a_textgrid_needs_an_interval_tier(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text('"ooTextFile"\n"TextGrid"\n0\n5\n<exists>\n1\n"TextTier"\n"clicks"\n0\n5\n0\n')
    with pytest.raises(UserError, match="no interval tier"):
        read_reference(path)


def test_what_predict_writes(tmp_path):
    rows = [
        {"path": "b.wav", "start": 1, "end": 4, "label": None, "probabilities": {}, "speech": False},
        {"path": "b.wav", "start": 0, "end": 3, "label": "sad", "probabilities": {"sad": 1.0}, "speech": True},
        {"path": "c.wav", "start": None, "end": None, "label": "sad", "probabilities": {"sad": 1.0}, "speech": True},
    ]
    lines, table = tmp_path / "p.jsonl", tmp_path / "p.csv"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table.write_text(
        "path,start,end,speech,predicted,prob_sad\nb.wav,1,4,False,,\nb.wav,0,3,True,sad,1\nc.wav,,,True,sad,1\n"
    )
    for path in (lines, table):
        found = read_predicted(path)
        assert found["b.wav"] == [Span(0, 2, "sad"), Span(2, 4, None)]
        assert evaluate_spans({"c.wav": [Span(0, 7, "sad")]}, found).eder.value == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,start,end\na,0,1\n", "lacks label; expected the columns file, start, end, label"),
        ("file,start,end,label\na,0,1,sad\na,x,3,sad\n", "row 2 of the reference .* is not a span"),
        ("file,start,end,label\na,2,1,sad\n", "row 1 of"),
        ("file,start,end,label\na,0,1,sad\n,,,\na,2,1,sad\n", "row 3 of"),
        ("file,start,end,label\na,,,sad\n", "row 1 of"),
        ("file,start,end,label\na,0,inf,sad\n", "row 1 of"),
    ],
)
def test_references_that_cannot_be(tmp_path, text, why):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=why):
        read_reference(path)


def test_the_rate_is_over_all_time_and_its_interval_over_recordings():
    random = np.random.default_rng(0)
    cuts = random.uniform(1, 9, 12)
    reference = {f"{number}.wav": [Span(0, 10 + number, "sad")] for number in range(12)}
    predicted = {f"/calls/{number}.wav": [Span(0, cut, "sad")] for number, cut in enumerate(cuts)}
    found = evaluate_spans(reference, predicted)
    total = sum(10 + number for number in range(12))
    assert found.eder.value == pytest.approx(1 - cuts.sum() / total)
    assert found.eder.low < found.eder.value < found.eder.high
    assert found.errors.missed == pytest.approx(total - cuts.sum())
    assert found.recordings["3.wav"].rate == pytest.approx(1 - cuts[3] / 13)
    few = evaluate_spans(dict(list(reference.items())[:9]), predicted)
    assert (few.eder.low, few.eder.reason) == (None, "fewer than 10 recordings (9)")
    assert [(one.path, one.reason) for one in few.exclusions] == [
        (f"/calls/{number}.wav", "not in the reference") for number in (9, 10, 11)
    ]


def test_names_of_recordings():
    spans = [Span(0, 1, "sad")]
    for name, other in (("a.wav", "/x/a.wav"), ("x/a.wav", "a.wav"), ("a", "x/a.wav"), ("a.wav", "a.mp3")):
        assert list(evaluate_spans({name: spans}, {other: spans}).recordings) == [name]
    found = evaluate_spans({"a": spans, "b": spans}, {"a.wav": spans})
    assert [(one.path, one.reason) for one in found.exclusions] == [("b", "not predicted")]
    with pytest.raises(UserError, match=r"a\.wav may be x/a\.wav or y/a\.wav"):
        evaluate_spans({"a.wav": spans}, {"x/a.wav": spans, "y/a.wav": spans})
    with pytest.raises(UserError, match="no recording of the reference was predicted"):
        evaluate_spans({"a.wav": spans}, {"b.wav": spans})


def test_the_command(serlab, tmp_path):
    table, reference = tmp_path / "p.csv", tmp_path / "r.csv"
    table.write_text(
        "path,start,end,speech,predicted\na.wav,0,3,True,sad\na.wav,1,4,True,neutral\nb.wav,0,1,True,sad\n"
    )
    reference.write_text("file,start,end,label\na.wav,0,4,sad\n")
    ended = serlab("evaluate", table, "--segments", reference)
    assert (ended.code, ended.out.splitlines()[0]) == (1, "EDER 50.0 % (no interval: fewer than 10 recordings (1))")
    assert "left out: b.wav (not in the reference)" in ended.err
    result = json.loads(serlab("evaluate", table, "--segments", reference, "--format", "json").out)
    assert result["eder"]["value"] == 0.5
    assert result["seconds"] == {"missed": 2, "false_alarm": 0, "confusion": 0, "total": 4}
    assert result["excluded"] == [{"path": "b.wav", "reason": "not in the reference"}]
    ended = serlab("evaluate", table, table, "--segments", reference)
    assert (ended.code, ended.sentence) == (2, "--segments takes one table, without --corpus and --report.")


def test_a_prediction_belongs_to_one_recording() -> None:
    spans = [Span(0, 4, "angry")]
    with pytest.raises(
        UserError, match=r"the prediction of x\.wav may be that of a/x\.wav or b/x\.wav; name the files"
    ):
        evaluate_spans({"a/x.wav": spans, "b/x.wav": [Span(0, 4, "sad")]}, {"x.wav": spans})
    # The one that is called so has it.
    found = evaluate_spans({"a/x.wav": spans, "x.wav": spans}, {"x.wav": spans})
    assert list(found.recordings) == ["x.wav"]
    assert [(entry.path, entry.reason) for entry in found.exclusions] == [("a/x.wav", "not predicted")]


@pytest.mark.parametrize(("true", "said"), [("angry", "Angry"), ("very sad", "verysad"), ("calm", "Neutral")])
def test_labels_that_differ_only_in_case_are_refused(true: str, said: str) -> None:
    with pytest.raises(UserError, match="differ only in case or blanks; use one spelling"):
        evaluate_spans({"a": [Span(0, 4, true)]}, {"a": [Span(0, 4, said)]})


def test_labels_that_are_nearly_the_same_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_spans({"a": [Span(0, 4, "disgust")]}, {"a": [Span(0, 2, "disgusted"), Span(2, 4, "sad")]})
    said = capsys.readouterr().err
    assert "'disgusted' is predicted and no label of the reference; 'disgust' is taken for another emotion." in said
    assert "sad" not in said.replace("disgusted", "")
