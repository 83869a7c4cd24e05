import re
from xml.etree import ElementTree

import pytest

from serlab.report import summarise
from serlab.report.figures import draw_all
from serlab.report.svg import standalone
from serlab.tables import read_runs


@pytest.fixture(scope="module")
def summary(comparison):
    return summarise(read_runs(comparison))


@pytest.fixture(scope="module")
def drawings(summary):
    return draw_all(summary)


def names(drawings) -> list[str]:
    return [drawing.name for drawing in drawings]


def shown(drawing) -> str:
    return " ".join(" ".join(text.itertext()) for text in ElementTree.fromstring(drawing.svg).findall(".//{*}text"))


def test_every_figure_is_there(drawings):
    wanted = ["uar", "differences", "recalls", "speakers", "curves", "confusion-0", "confusion-1", "confusion-2"]
    assert names(drawings) == wanted


def test_each_has_a_caption_and_a_text_alternative(drawings):
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == drawing.alternative
        assert len(drawing.alternative) > 40
        assert drawing.caption.endswith(".")


def test_ids_are_unique_over_the_page_and_every_reference_has_its_target(drawings):
    ids = [found for drawing in drawings for found in re.findall(r'\bid="([^"]+)"', drawing.svg)]
    assert len(ids) == len(set(ids)) > 50
    for drawing in drawings:
        own = set(re.findall(r'\bid="([^"]+)"', drawing.svg))
        references = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', drawing.svg))
        assert references <= own


def test_colours_come_from_the_page(drawings):
    for drawing in drawings:
        fixed = re.sub(r"var\([^)]*\)", "", drawing.svg)
        assert not re.search(r"(fill|stroke): #", fixed)
    assert "currentColor" in drawings[0].svg


def test_text_stays_text(summary, drawings):
    by_name = dict(zip(names(drawings), drawings, strict=True))
    best = summary["recipes"][0]
    assert f"{100 * best['scores']['uar']['value']:.1f}" in shown(by_name["uar"])
    assert f"{100 * summary['chance']:.1f}" in shown(by_name["uar"])
    texts = shown(by_name["confusion-0"]).split()
    for row in best["confusion"]:
        assert {str(count) for count in row} <= set(texts)
        assert {f"{100 * count / sum(row):.0f}" for count in row} <= set(texts)


def test_drawing_twice_gives_the_same_bytes(summary, drawings):
    assert [drawing.svg for drawing in draw_all(summary)] == [drawing.svg for drawing in drawings]


def test_names_of_users_cannot_break_out_of_a_figure(summary):
    evil = '</text><script>alert("$x_1$")</script>'
    recipes = [summary["recipes"][0] | {"title": evil}, *summary["recipes"][1:]]
    for drawing in draw_all({**summary, "recipes": recipes}):
        assert "<script" not in drawing.svg + standalone(drawing)
        ElementTree.fromstring(standalone(drawing))


def test_figures_without_data_are_left_out(add_run, tmp_path):
    add_run("mfcc-svm", 1)
    drawings = draw_all(summarise(read_runs(tmp_path / "crema-d" / "speaker-3")))
    assert names(drawings) == ["uar", "recalls", "speakers", "confusion-0"]
    assert "no interval: fewer than 10 speakers" in drawings[0].alternative


def test_unknown_speakers_have_no_strip(add_run, tmp_path, comparison):
    corpus = read_runs(comparison)[0].signature["corpus"] | {"speakers_known": False}
    add_run("mfcc-svm", 1, corpus=corpus)
    assert "speakers" not in names(draw_all(summarise(read_runs(tmp_path / "crema-d" / "speaker-3"))))


def test_a_file_of_its_own_follows_light_and_dark(drawings):
    text = standalone(drawings[0])
    root = ElementTree.fromstring(text)
    assert root.find("{*}title").text == drawings[0].title
    assert "prefers-color-scheme: dark" in root.find("{*}style").text
