from itertools import combinations
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.report.letters import compact_letters, letters_of
from serlab.report.pairs import PairReport

NAMES = [f"r{number}" for number in range(7)]


@given(st.sets(st.sampled_from(list(combinations(NAMES, 2)))))
def test_two_share_a_letter_exactly_if_they_are_not_different(different):
    found = compact_letters(NAMES, sorted(different))
    for one, other in combinations(NAMES, 2):
        assert bool(set(found[one]) & set(found[other])) == ((one, other) not in different)
    assert all(found.values())


def test_the_best_has_the_first_letter_and_no_letter_is_left_out():
    found = compact_letters(NAMES[:4], [("r0", "r2"), ("r0", "r3"), ("r1", "r3")])
    assert found == {"r0": "a", "r1": "ab", "r2": "bc", "r3": "c"}
    assert compact_letters(NAMES[:3], []) == dict.fromkeys(NAMES[:3], "a")
    assert list(compact_letters(NAMES[:3], list(combinations(NAMES[:3], 2))).values()) == ["a", "b", "c"]


def pairs(answer, p=0.01):
    found = SimpleNamespace(answer=answer, p=p)
    return [PairReport(one, other, found) for one, other in combinations(NAMES[:4], 2)]


@pytest.mark.parametrize(("answer", "apart"), [
    ("better", True), ("worse", True), ("not shown", False), ("equivalent", False),
])  # fmt: skip
def test_letters_follow_the_answers_of_the_family(answer, apart):
    found = letters_of(NAMES[:4], pairs(answer))
    assert (len(set(found.values())) == 4) == apart
    assert (set(found.values()) == {"a"}) != apart


def test_no_letters_for_three_recipes_or_with_a_pair_that_cannot_be_compared():
    assert letters_of(NAMES[:3], pairs("better")[:3]) == {}
    assert letters_of(NAMES[:4], [*pairs("better")[:5], PairReport("r2", "r3", reason="no clip")]) == {}
    assert letters_of(NAMES[:4], pairs("not shown", None)) == {}
