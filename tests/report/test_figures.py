import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import pyvips

from serlab.report import summarise
from serlab.report.charts import mark_of
from serlab.report.figures import counts_caption, draw_all, draw_counts
from serlab.report.svg import INK, LINE, MUTED, PAGE, SERIES, export_svg, exports, settings
from serlab.report.trust_figures import draw_trust
from serlab.tables.predictions import read_runs


@pytest.fixture(scope="module")
def summary(comparison):
    return summarise(read_runs(comparison))


@pytest.fixture(scope="module")
def drawings(summary):
    return draw_all(summary)


@pytest.fixture(scope="module")
def exported(drawings):
    return {drawing.name: exports(drawing) for drawing in drawings}


def names(drawings) -> list[str]:
    return [drawing.name for drawing in drawings]


def shown(drawing) -> str:
    return " ".join(" ".join(text.itertext()) for text in ElementTree.fromstring(drawing.svg).findall(".//{*}text"))


def test_every_figure_is_there(drawings):
    pairs = ["differences", "recalls", "label-gains", "speakers", "gains-0", "gains-1", "curves"]
    assert names(drawings) == ["uar", *pairs, "confusion-0", "confusion-1", "confusion-2"]


def test_each_has_a_caption_and_a_text_alternative(drawings):
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == drawing.alternative
        assert len(drawing.alternative) > 40
        assert drawing.caption.endswith(".")


def test_the_line_of_chance_is_in_the_figure_and_a_perfect_model_has_no_error(summary):
    scores = {"uar": replace(summary.recipes[0].scores["uar"], value=0.1, low=0.05, high=0.15)}
    worse = tuple(replace(recipe, scores=recipe.scores | scores) for recipe in summary.recipes)
    drawn = draw_all(replace(summary, recipes=worse, chance=0.5))
    ticks = [int(found) for found in re.findall(r"\b\d+0\b", shown(drawn[0]))]
    assert max(ticks) >= 50
    with settings():
        _, worst = draw_counts(np.eye(3, dtype=np.int64) * 9, ["a", "b", "c"], said="predicted", what="clips")
    assert worst == "no errors"


def test_marks_of_many_recipes_differ():
    marks = [(mark["marker"], mark["color"]) for mark in map(mark_of, range(16))]
    assert len(set(marks)) == 16


def test_long_titles_leave_room_for_the_figure(summary):
    long = tuple(replace(recipe, title=f"{recipe.title}, {'very ' * 16}long") for recipe in summary.recipes)
    # Matplotlib warns if there is no room for the axes, and warnings are errors here.
    for drawing in [*draw_all(replace(summary, recipes=long)), *draw_trust(replace(summary, recipes=long))]:
        if drawing.name in ("recalls", "curves", "abstention"):
            assert shown(drawing).count("very") >= 16


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
    best = summary.recipes[0]
    assert f"{100 * best.scores['uar'].value:.1f}" in shown(by_name["uar"])
    assert f"{100 * summary.chance:.1f}" in shown(by_name["uar"])
    texts = shown(by_name["confusion-0"]).split()
    for row in best.confusion:
        assert {str(count) for count in row} <= set(texts)
        assert {f"{100 * count / sum(row):.0f}" for count in row} <= set(texts)


def test_drawing_twice_gives_the_same_bytes(summary, drawings):
    assert [drawing.svg for drawing in draw_all(summary)] == [drawing.svg for drawing in drawings]


def test_names_of_users_cannot_break_out_of_a_figure(summary):
    evil = '</text><script>alert("$x_1$")</script>'
    recipes = (replace(summary.recipes[0], title=evil), *summary.recipes[1:])
    for drawing in draw_all(replace(summary, recipes=recipes))[:3]:
        text = export_svg(drawing).decode()
        assert "<script" not in drawing.svg + text
        ElementTree.fromstring(text)


def test_figures_without_data_are_left_out(add_run, tmp_path):
    add_run("mfcc-svm", 1)
    drawings = draw_all(summarise(read_runs(tmp_path / "crema-d" / "speaker-3")))
    assert names(drawings) == ["uar", "recalls", "speakers", "confusion-0"]
    assert "no interval: fewer than 10 speakers" in drawings[0].alternative


def test_unknown_speakers_have_no_strip(add_run, tmp_path, comparison):
    corpus = read_runs(comparison)[0].signature["corpus"] | {"speakers_known": False}
    add_run("mfcc-svm", 1, corpus=corpus)
    assert "speakers" not in names(draw_all(summarise(read_runs(tmp_path / "crema-d" / "speaker-3"))))


def test_files_have_plain_colours(drawings, exported):
    for drawing in drawings:
        text = exported[drawing.name]["svg"].decode()
        assert not re.search(r"var\(|@media|currentColor|--\w+:", text)
        root = ElementTree.fromstring(text)
        assert root.find("{*}title").text == drawing.title
        assert root.get("aria-label") == drawing.alternative
        assert shown(drawing) == " ".join(" ".join(found.itertext()) for found in root.findall(".//{*}text"))
        colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", text)) - {"none"}
        assert colours <= {INK, MUTED, LINE, PAGE, *SERIES}
        assert "system-ui" not in text
        assert set(re.findall(r"font-family: ([^;\"]+)", text)) == {"'DejaVu Sans', Verdana, sans-serif"}


def test_fonts_of_the_page_have_a_fallback(drawings):
    families = {found for each in drawings for found in re.findall(r"font-family: ([^;\"]+)", each.svg)}
    assert families == {"system-ui, sans-serif"}


def pixels(picture: pyvips.Image) -> np.ndarray:
    return picture.flatten(background=[255, 255, 255]).numpy().astype(float)


def amount(image: np.ndarray, colour: str) -> float:
    """How much of a colour is painted on white, in pixels; paler mixtures count for less."""
    step = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) - 255.0
    share = (image - 255) @ step / (step @ step)
    pure = np.abs(image - 255 - share[..., None] * step).max(axis=-1) < 12
    return float(share[pure & (share > 0.2) & (share < 1.1)].sum())


@pytest.mark.parametrize("name", ["uar", "differences", "speakers", "curves"])
def test_librsvg_shows_what_matplotlib_shows(exported, name):
    found = exported[name]
    png = pixels(pyvips.Image.new_from_buffer(found["png"], ""))
    svg = pixels(pyvips.Image.new_from_buffer(found["svg"], "", scale=200 / 72))
    assert svg.shape == png.shape
    used = [colour for colour in (*SERIES[:3], LINE) if amount(png, colour) > 300]
    assert LINE in used
    assert len(used) > 1
    for colour in used:
        assert amount(svg, colour) == pytest.approx(amount(png, colour), rel=0.2)
    assert svg[0, 0] == pytest.approx([255, 255, 255])


def test_files_are_the_same_when_made_again(summary, exported):
    again = draw_all(summary)[0]
    assert exports(again) == exported[again.name] == exports(again)


def test_pdf_and_png_have_no_date_and_embedded_text(exported):
    found = exported["differences"]
    assert found["pdf"].startswith(b"%PDF-")
    assert b"CreationDate" not in found["pdf"]
    assert b"/CIDFontType2" in found["pdf"] or b"/TrueType" in found["pdf"]
    assert b"/Type3" not in found["pdf"]
    assert found["png"].startswith(b"\x89PNG")
    assert b"Software" not in found["png"]
    assert b"tIME" not in found["png"]


def test_labels_in_a_script_without_a_font_are_no_warning(summary):
    labels = ["愤怒", *summary.corpus["labels"][1:]]
    recipes = tuple(
        replace(recipe, per_class=tuple(replace(c, label=labels[i]) for i, c in enumerate(recipe.per_class)))
        for recipe in summary.recipes
    )
    drawn = draw_all(replace(summary, corpus=summary.corpus | {"labels": labels}, recipes=recipes))
    recalls = next(drawing for drawing in drawn if drawing.name == "recalls")
    assert "愤怒" in export_svg(recalls).decode()


@pytest.mark.parametrize(("labels", "written"), [(20, True), (21, False), (60, False)])
def test_matrices_of_many_labels_are_cells_without_numbers(labels, written):
    counts = np.eye(labels, dtype=np.int64) * 9
    counts[0, 1] = 1
    names = [f"l{index}" for index in range(labels)]
    with settings():
        figure, worst = draw_counts(counts, names, said="predicted", what="clips")
    assert worst == "most frequent error: l0 heard as l1, 10 % of its clips"
    [cells] = figure.axes[0].collections
    # One path for the squares of each share: 10, 90 and 100 %, the darkest last.
    assert [len(path.vertices) // 5 for path in cells.get_paths()] == [1, 1, labels - 1]
    palest, paler, darkest = cells.get_facecolor()[:, 3]
    assert palest < paler < darkest
    assert {text.get_text() for text in figure.axes[0].texts} == ({"100", "90", "10"} if written else set())
    assert ("report.json has the numbers" in counts_caption("true", names, "clips")) != written
