"""Names that look the same are merged; labels that look like people are reported."""

from __future__ import annotations

import pytest

from serlab.core import UserError
from serlab.corpora.spelling import check_labels_differ, joined, named_like_people, nearly_same


@pytest.mark.parametrize(
    "other", ["very  sad", " very sad", "very\u00a0sad", "very\u2009sad ", "very sad\u200b", "\ufeffvery sad"]
)
def test_spaces_and_what_nobody_sees_make_no_second_name(other):
    names, notes = joined(["very sad", other, "very sad", "happy"])
    assert names == ["very sad", "very sad", "very sad", "happy"]
    assert notes == [f"'very sad' replaces {other!a} (1 clip)"]


def test_unicode_forms_and_whole_numbers_make_no_second_name():
    assert joined(["fr\u00f6h", "fro\u0308h", "fr\u00f6h"])[0] == ["fr\u00f6h"] * 3
    assert joined(["1", "1.0", "1", "2.5"])[0] == ["1", "1", "1", "2.5"]


def test_a_name_that_stands_alone_keeps_its_spelling():
    names = ["fro\u0308h", "very  sad", "1.0", "Sad"]
    assert joined(names) == (names, [])


def test_labels_that_differ_by_capitals_are_refused_by_name():
    with pytest.raises(UserError, match=r"'Happy' \(2 clips\) and 'happy' \(1 clip\); use one spelling"):
        check_labels_differ(["Happy", "happy", "Happy", "sad"], "t.csv")
    check_labels_differ(["happy", "sad"], "t.csv")
    assert nearly_same(["S1", "s1", "s2"]) == [["S1", "s1"]]


@pytest.mark.parametrize("labels", [["very sad", "very_sad"], ["no-anger", "noanger"], ["01", "1"]])
def test_labels_that_differ_by_marks_or_zeros_are_refused_by_name(labels):
    with pytest.raises(UserError, match=f"'{labels[0]}' .1 clip. and '{labels[1]}'"):
        check_labels_differ([*labels, "calm"], "t.csv")


def test_numbers_and_their_signs_are_labels_of_their_own():
    check_labels_differ(["-1", "1", "10", "1-0", "0.1", "0.01", "a1", "a-1"], "t.csv")


@pytest.mark.parametrize(
    "labels",
    [
        [f"Actor_{number:02d}" for number in range(1, 25)],
        ["1001", "1002", "1091"],
        ["03", "08", "09", "10", "11", "12", "13", "14", "15", "16"],
        ["DC", "JE", "JK", "KL"],
        ["Anna", "Bob", "Carol"],
        ["angela", "peter", "marco r"],
        ["f1", "f2", "m1", "m2"],
        ["speaker one", "speaker_2", "speaker-3", "speaker 4"],
        ["p225", "p226", "p227"],
        ["Ses01F", "Ses02F"],
    ],
)
def test_labels_that_are_people(labels):
    assert named_like_people(labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["angry", "disgust", "fear", "happy", "neutral", "sad"],
        ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"],
        ["A", "E", "F", "L", "N", "T", "W"],
        ["dis", "gio", "neu", "pau", "rab", "sor", "tri"],
        [f"0{number}" for number in range(1, 9)],
        ["0", "1", "2", "3"],
        ["OAF_angry", "OAF_sad", "YAF_angry", "YAF_sad"],
        ["Freude", "Trauer", "Ärger", "Überraschung"],
        ["colère", "joie", "tristesse", "peur"],
        ["high", "low"],
        ["yes", "no"],
    ],
)
def test_labels_that_are_none(labels):
    assert not named_like_people(labels)
