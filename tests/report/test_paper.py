import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from tests.report.conftest import FOLDS, RECIPES, write_run

from serlab.report import build, summarise
from serlab.report.latex import MOST_ROWS, escape, table
from serlab.report.methods import methods_of
from serlab.report.tables import Table, comparison_tables, count_column, to_csv, words_column
from serlab.report.trust_tables import trust_tables
from serlab.tables.predictions import read_runs


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """The report of four recipes with two seeds, with its folder for papers; one name is hard on LaTeX."""
    out = tmp_path_factory.mktemp("four")
    name = "50% & more_#1 {x} ~^\\ <a|b> [@v1]"
    for fold in range(1, FOLDS + 1):
        for seed in (0, 1):
            for recipe in RECIPES:
                write_run(out, recipe, fold, seed)
            path = write_run(out, "mfcc-svm", fold, seed, folder="hard", skill=0.75).with_suffix(".json")
            signature = json.loads(path.read_text())
            signature["recipe"] |= {"title": name, "hash": "ff" * 8}
            path.write_text(json.dumps(signature))
    return build(out / "crema-d" / "speaker-3", latex=True).parent


def rows(folder, name):
    return list(csv.DictReader(io.StringIO((folder / "paper" / f"{name}.csv").read_text())))


def test_csv_has_the_numbers_of_the_json(four):
    report = json.loads((four / "report.json").read_text())
    page = (four / "index.html").read_text()
    for row, recipe in zip(rows(four, "scores"), report["recipes"], strict=True):
        assert row["recipe"] == recipe["title"]
        assert row["letters"] == report["letters"][recipe["name"]]
        for key, score in recipe["scores"].items():
            assert [float(row[key]), float(row[f"{key}_low"]), float(row[f"{key}_high"])] == [
                score["value"], score["low"], score["high"],
            ]  # fmt: skip
    for row, pair in zip(rows(four, "differences"), report["pairs"], strict=True):
        assert float(row["win_rate"]) == pair["breakdown"]["win_rate"]
        assert float(row["effect_size"]) == pair["breakdown"]["effect_size"]
        assert float(row["p_uar_holm"]) == pair["p_holm"]
        assert row["first_is"] in page
    gains = [gain for pair in report["pairs"] for gain in pair["breakdown"]["gains"].items()]
    assert [(row["speaker"], float(row["gain"])) for row in rows(four, "gains")] == gains
    of_labels = [each["low"] for pair in report["pairs"] for each in pair["breakdown"]["labels"].values()]
    assert [float(row["recall_low"]) for row in rows(four, "label-differences")] == of_labels


def test_letters_win_rates_and_differences_by_label_are_on_the_page_and_in_markdown(four):
    report = json.loads((four / "report.json").read_text())
    page, markdown = ((four / name).read_text() for name in ("index.html", "report.md"))
    assert "Recipes that share a letter are not shown to differ in UAR" in page
    for recipe in report["recipes"]:
        letters = report["letters"][recipe["name"]]
        assert f'<td data-label="Letters"><strong>{letters}</strong></td>' in page
        assert re.search(
            rf"^\|[^|]*(\\\|[^|]*)* \| {letters} \| {100 * recipe['scores']['uar']['value']:.1f} ", markdown, re.M
        )
    for pair in report["pairs"]:
        found = pair["breakdown"]
        assert f'data-label="Wins, %">{100 * found["win_rate"]:.0f}<' in page
        assert f'data-label="Effect size">{found["effect_size"]:.2f}<' in page
        for value in found["labels"].values():
            text = f"{100 * value['value']:.1f}".replace("-", "−")
            assert f"<strong>{text}</strong>" in page
            assert f" {text} (" in markdown


def test_every_table_is_there_twice_and_old_ones_go(four):
    names = {path.stem for path in (four / "paper").glob("*.csv")}
    assert {"scores", "differences", "labels", "confusions", "runs", "cost", "calibration", "prediction-sets"} <= names
    assert names == {path.stem for path in (four / "paper").glob("*.tex")} - {"methods", "example"}
    (four / "paper" / "raters.csv").write_text("an earlier report's\n")
    (four / "paper" / "mine.tex").write_text("the user's\n")
    build(four.parent)
    assert not (four / "paper" / "raters.csv").exists()
    (four / "paper" / "mine.tex").unlink()


def test_without_the_option_there_is_no_folder(add_run):
    folder = add_run("mfcc-svm", 1).parent.parent
    assert not (build(folder).parent / "paper").exists()


@pytest.mark.parametrize(
    "text", ["a & b", "50 %", "x_1 #2 $3", "{a}", "a\\b", "~^", "<|>", "−1.0 – 2…", "[1]", 'say "a"']
)
def test_escaped_text_has_no_bare_special_character(text):
    bare = re.sub(r"\\(text\w+|ldots)\{\}|\\[&%$#_{}]|\{[\[\]]\}|\$-\$", "", escape(text))
    assert not re.search(r"[&%$#_{}\\~^<>|−–…\[\]]|\"", bare)


def test_a_long_table_breaks_over_pages():
    columns = (words_column("a", "A"), count_column("b", "B"))
    short = table(Table("t", "It shows 1 %.", columns, (("x", 1234), ("y", None))))
    assert short.startswith(r"\begin{table}[t]")
    assert r"\caption{It shows 1 \%.}\label{tab:serlab-t}" in short
    assert "x & 1,234 \\\\\ny & -- \\\\" in short
    rows_of = tuple((f"r{number}", number) for number in range(MOST_ROWS + 1))
    assert r"\begin{longtable}{@{}lr@{}}" in table(Table("t", "", columns, rows_of))


def confusions(recipes: int, labels: int = 20) -> Table:
    names = [f"label {number} & more" for number in range(labels)]
    columns = (words_column("recipe", "Recipe"), words_column("label", "True label"), *map(count_column, names, names))
    rows = [
        (f"Recipe {number} with a long name", name, *range(1000, 1000 + labels))
        for number in range(recipes)
        for name in names
    ]
    return Table("confusions", "Clips.", columns, tuple(rows))


def test_a_table_with_many_columns_has_rotated_headings_and_whole_recipes_on_each_page():
    (one,) = table(confusions(1)).split("\n\n")
    assert one.count(r"\rotatebox{90}{label") == 20
    assert r"\rotatebox{90}{Recipe}" not in one
    assert r"\rotatebox" not in table(confusions(1, labels=3))
    first, second = table(confusions(3)).split("\n\n")
    assert [each.count(" with a long name") for each in (first, second)] == [40, 20]
    assert r"\label{tab:serlab-confusions}" in first
    assert r"\caption{Clips. Part 2 of 2.}" in second
    assert r"\label" not in second


@pytest.mark.slow
@pytest.mark.parametrize("labels", [3, 5, 6, 8, 20])
def test_a_table_of_confusions_is_no_wider_than_a_page(tmp_path, labels):
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex")
    head = r"\documentclass[twocolumn]{article}\usepackage[a4paper,margin=2cm]{geometry}"
    body = (
        r"\usepackage{booktabs,longtable,graphicx}\begin{document}" + table(confusions(3, labels)) + r"\end{document}"
    )
    (tmp_path / "wide.tex").write_text(head + body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "wide.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_a_column_without_a_heading_is_for_csv_alone():
    found = Table("t", "", (words_column("a", "A"), words_column("b")), (("x", "hidden"),))
    assert "hidden" not in table(found)
    assert to_csv(found) == "a,b\nx,hidden\n"


def test_each_citation_has_its_entry(four):
    text = (four / "paper" / "methods.tex").read_text()
    entries = re.findall(r"^@\w+\{(\w+),", (four / "paper" / "methods.bib").read_text(), re.M)
    assert re.findall(r"\\cite\{(\w+)\}", text) == entries
    assert {"serlab", "corpus", "hesterberg2015", "holm1979", "piepho2004"} <= set(entries)


def test_methods_say_what_was_done(comparison, four):
    summary = summarise(read_runs(comparison))
    plain = methods_of(summary).plain
    for needed in (
        "CREMA-D",
        "speaker-3",
        "24 actors",
        "No test actor was in training",
        "(Hesterberg, 2015)",
        "3 pairs",
    ):
        assert needed in plain
    assert summary.signature in plain
    assert "1 seed per fold" in plain
    assert "not how they would do if trained again" in plain
    assert "piepho" not in methods_of(summary).text
    report = json.loads((four / "report.json").read_text())["methods"]
    assert "2 seeds per fold" in report["plain"]
    assert "satterthwaite1946" in report["text"]
    assert report["bibtex"] == (four / "paper" / "methods.bib").read_text()
    one = replace(summary, recipes=summary.recipes[:1], pairs=())
    assert "pairs" not in methods_of(one).text
    own = methods_of(replace(summary, corpus=summary.corpus | {"citation": "not stated (the user's own corpus)"}))
    assert "@corpus" not in own.text


def test_without_an_interval_the_methods_say_why(add_run, tmp_path):
    add_run("mfcc-svm", 1, speakers=6)
    text = methods_of(summarise(read_runs(tmp_path / "crema-d" / "speaker-3"))).text
    assert "There are no intervals: fewer than 10 speakers (2)." in text
    assert "hesterberg" not in text


def test_what_is_not_known_has_no_rows(add_run, tmp_path):
    add_run("mfcc-svm", 1)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3"))
    names = {found.name for found in comparison_tables(summary) + trust_tables(summary) if found.rows}
    assert names.isdisjoint({"differences", "gains", "label-differences", "groups", "gaps", "raters"})


@pytest.mark.slow
def test_latex_accepts_it(four):
    if not all(map(shutil.which, ("pdflatex", "bibtex"))):
        pytest.skip("no pdflatex")
    folder = four / "paper"
    example = (folder / "example.tex").read_text()
    # Tests write figures as SVG alone.
    (folder / "example.tex").write_text(re.sub(r"\\includegraphics\[[^]]*\]\{[^}]*\}", r"\\rule{8cm}{1cm}", example))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "example.tex"]
    for each in (command, ["bibtex", "example"], command, command):
        done = subprocess.run(each, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (folder / "example.log").read_text(errors="replace")
    assert "undefined" not in log
    assert "multiply defined" not in log
