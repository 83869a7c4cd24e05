"""The picture of many clips."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from serlab.report.scatter import _SHAPES, MOST_GROUPS, MOST_POINTS, _colour, _shape, chosen_rows, draw

SVG = "{http://www.w3.org/2000/svg}"


def picture(groups: list[str], marked: list[str], points: np.ndarray | None = None) -> ElementTree.Element:
    points = np.random.default_rng(0).normal(size=(len(groups), 2)) if points is None else points
    clips = [f"clip<{place}>&\"'" for place in range(len(groups))]
    return ElementTree.fromstring(draw("p", points, clips, groups, marked, ("x <1>", "y"), 'seen "here"'))


def titles(svg: ElementTree.Element) -> list[str]:
    return [str(each.text) for each in svg.iter(f"{SVG}title")]


def test_every_clip_has_its_id_to_hover_and_every_marked_group_its_mean() -> None:
    found = Counter(titles(picture(["a", "b", "a", "c"], ["a", "b"])))
    assert found == Counter([*(f"clip<{place}>&\"'" for place in range(4)), "a: mean", "b: mean"])


def test_marks_lie_in_the_frame_even_if_all_clips_are_at_one_place() -> None:
    for points in (None, np.zeros((4, 2))):
        svg = picture(["a", "b", "a", "b"], ["a", "b"], points)
        frame = next(svg.iter(f"{SVG}rect"))
        places = [(float(use.get("x", 0)), float(use.get("y", 0))) for use in svg.iter(f"{SVG}use") if use.get("x")]
        assert len(places) == 4
        for x, y in places:
            assert 0 <= x <= float(frame.get("width", 0))
            assert 0 <= y <= float(frame.get("height", 0))


def test_up_is_up() -> None:
    svg = picture(["a", "a"], ["a"], np.array([[0.0, 0.0], [1.0, 5.0]]))
    low, high = [use for use in svg.iter(f"{SVG}use") if use.get("x")]
    assert float(high.get("y", 0)) < float(low.get("y", 0))
    assert float(high.get("x", 0)) > float(low.get("x", 0))


def test_groups_differ_in_colour_or_shape_and_names_are_escaped() -> None:
    assert len({(_colour(place), _shape(place)) for place in range(MOST_GROUPS)}) == MOST_GROUPS
    assert len({_shape(place) for place in range(7)}) == len(_SHAPES)
    svg = picture(["<script>", "b"], ["<script>"])
    assert "<script>" in [each.text for each in svg.iter(f"{SVG}text")]
    assert svg.get("aria-label") == 'seen "here"'


@pytest.mark.parametrize("first", [[], list(range(100)), list(range(3000))])
def test_of_many_clips_some_are_drawn_always_the_same(first: list[int]) -> None:
    clips = [str(place) for place in range(4000)]
    one, again = (chosen_rows(clips, first, np.random.default_rng(3)) for _ in range(2))
    assert one.tolist() == again.tolist() == sorted(set(one.tolist()))
    assert len(one) == MOST_POINTS
    assert len(set(one.tolist()) & set(first)) >= min(len(first), MOST_POINTS // 2)
    assert chosen_rows(clips[:10], [], np.random.default_rng(3)).tolist() == list(range(10))
