"""Who heard a fold's speakers before: overlaps of records with its subsets."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serlab.tables.heard import ITSELF, behind, overlaps, record

FOLD: dict[str, Any] = {
    "corpus": "c", "fingerprint": "f", "train": ["a", "b"], "dev": ["d"], "test": ["t", "u"],
}  # fmt: skip


def found(train, dev=(), corpus="c", fingerprint=None, own=("a", "b"), **fold) -> list[tuple[str, bool]]:
    records = [record(ITSELF, "c", "f", ["a", "b"], ["d"]), record("it", corpus, fingerprint, train, dev)]
    return [(each.subset, each.allowed) for each in overlaps(records, **FOLD | fold | {"train": own})]


def test_test_and_dev_speakers_that_were_trained_on_are_leaks() -> None:
    assert found(["a", "t"]) == [("test", False)]
    assert found(["d"]) == [("dev", False)]
    assert found(["t", "d"]) == [("test", False), ("dev", False)]
    assert found(["a", "b", "x"]) == []


def test_a_choice_by_dev_speakers_is_allowed_and_one_by_test_speakers_is_not() -> None:
    assert found(["a"], ["d"]) == [("dev", True)]
    assert found(["a"], ["u"]) == [("test", False)]


def test_another_corpus_is_none_of_ours_and_a_copy_or_a_part_is() -> None:
    assert found(["t"], corpus="other") == []
    assert found(["t"], corpus=None) == []
    assert found(["t"], corpus="other", fingerprint="f") == [("test", False)]
    assert found(["t"], corpus="c-smoke") == found(["t"], corpus="c-limit12") == [("test", False)]


def test_a_record_of_this_corpus_without_speakers_is_a_leak_unless_nothing_is_held_out() -> None:
    assert found(None) == [("test", False)]
    everyone = record("it", "c", "f", None, None)
    assert [*overlaps([everyone], corpus="c", fingerprint="f", train=["a"], dev=[], test=[])] == []


def test_speakers_that_the_model_trains_on_itself_do_not_count() -> None:
    # A protocol that shares speakers between subsets has another finding, SL001.
    assert found(["t"], own=["a", "b", "t", "u"]) == []


def test_sentences_name_who_did_what_to_whom() -> None:
    records = [record("the teacher x", "c", None, ["t", "u"], ["t"])]
    texts = [each.text for each in overlaps(records, **FOLD)]
    assert texts == [
        "the teacher x was trained on 2 test speakers of this fold (the first is t).",
        "the teacher x chose its settings by a test speaker of this fold (t).",
    ]
    (unknown,) = overlaps([record("the weights y", "c", None, None, None)], **FOLD)
    assert unknown.text == "the weights y was trained on this corpus, and does not say on which speakers."


def test_what_is_behind_a_teacher_is_behind_its_student() -> None:
    teacher = [record(ITSELF, "c", "f", ["a"], []), record("the weights y", "c", None, ["t"], [])]
    student = [record(ITSELF, "c", "f", ["a"], []), *behind("the teacher x", teacher)]
    assert [each.what for each in overlaps(student, **FOLD)] == ["the teacher x: the weights y"]


@given(st.sets(st.sampled_from("abdtux")), st.sets(st.sampled_from("abdtux")))
def test_a_leak_is_found_exactly_if_there_is_one(train: set[str], dev: set[str]) -> None:
    leaks = [each for each in found(train, dev) if not each[1]]
    assert bool(leaks) == bool(train & {"d", "t", "u"} or dev & {"t", "u"})
