"""The page, Markdown, JSON and tables of a look at a corpus agree, stay small and load nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.report.explored import corpus_of, crossed, space_of, table_of, view_of
from tests.report.test_render import Page, cell

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.report.exploring_pages import write

LARGEST = 1.5e6


def written(
    corpus: Corpus, folder: Path, *, audio: Any = "none", table: pd.DataFrame | None = None, **how: Any
) -> Path:
    table = table_of(corpus) if table is None else table
    view = view_of(corpus, table, space=space_of(corpus), **how)
    return write(view, table, folder, dict(zip(corpus.clips["clip"], corpus.clips["path"], strict=True)), audio)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = corpus_of(crossed(12, 4, takes=2, without=[("s0003", "label02")]))
    return written(corpus, tmp_path_factory.mktemp("explore"), duplicates=[("clip00000", "clip00001")])


def test_page_markdown_and_json_say_the_same(page: Path) -> None:
    data = json.loads((page.parent / "report.json").read_text())
    shown = cell(Page(page.read_text(encoding="utf-8")))
    markdown = (page.parent / "report.md").read_text().replace("\\", "")
    for text in (
        data["about"]["headline"],
        data["grid"]["text"],
        data["space"]["across_text"],
        *(each["text"] for each in data["suggestions"]),
        *(each["title"] for each in data["outliers"]),
        *(each["name"] for each in data["protocols"]),
        "clip00000 = clip00001",
    ):
        assert text.replace("\u00a0", " ") in shown
        assert text in markdown
    assert data["grid"]["holes"] == {"label02": ["s0003"]}


def test_the_page_loads_nothing_and_its_figures_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = Page(text)
    assert not found.open
    assert "script" not in found.tags
    assert [address for address in found.addresses if not address.startswith("#")] == []
    assert len(found.ids) == len(set(found.ids))
    assert {address[1:] for address in found.addresses} <= {*found.ids}
    assert "default-src 'none'" in text
    for link in re.findall(r"!\[[^\n]*\]\(([^)]+)\)", (page.parent / "report.md").read_text()):
        assert (page.parent / link).read_text().startswith("<svg")


def test_tables_can_be_scrolled_by_keyboard_and_have_names(page: Path) -> None:
    regions = re.findall(r"<div class=\"scroll[^>]*>", page.read_text())
    assert len(regions) > 5
    assert all('tabindex="0"' in each and "aria-label=" in each for each in regions)


def test_the_table_has_every_clip(page: Path) -> None:
    assert len(pd.read_csv(page.parent / "clips.csv")) == 94


def test_what_users_named_is_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>|"
    text = written(corpus_of([(evil, "a"), (evil, evil), ("b", "a"), ("b", evil)]), tmp_path).read_text()
    assert "<img" not in text
    assert "&lt;img" in text


def test_sixty_labels_and_a_thousand_speakers_fit(tmp_path: Path) -> None:
    corpus = corpus_of(
        [(f"speaker-{s:04}", f"label-{(7 * s + 11 * k) % 60:02}") for s in range(1000) for k in range(15)]
    )
    path = written(corpus, tmp_path)
    assert path.stat().st_size < LARGEST
    text = cell(Page(path.read_text()))
    assert "15,000 clips of 1,000 speakers with 60 labels" in text
    assert "45,000 of 60,000 cells have no clip." in text
    assert "the 100 of 1,000 speakers with the most holes" in text


@pytest.mark.parametrize("rows", [[("a", "sad")] * 6, crossed(2, 2, takes=3)], ids=["one label", "two speakers"])
def test_small_corpora_have_a_page_too(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    assert written(corpus_of(rows), tmp_path, protocols=()).is_file()


def test_unknown_speakers_and_no_features(tmp_path: Path) -> None:
    corpus = corpus_of([("", "happy"), ("", "sad")] * 3, speakers_known=False)
    table = table_of(corpus).drop(columns=["distance"])
    path = write(view_of(corpus, table, excluded=[{"clip": "x", "reason": "silent"}]), table, tmp_path, {}, "none")
    shown = cell(Page(path.read_text()))
    assert "Not looked at: 3 usable clips are too few; it needs 5." in shown
    assert "Labels and speakers" not in shown
    assert not list((tmp_path / "figures").glob("space-*"))


def test_clips_to_listen_to_are_linked_embedded_or_left_out(tmp_path: Path) -> None:
    corpus = corpus_of(crossed(12, 4))
    sound = tmp_path / "sounds" / "odd one.wav"
    sound.parent.mkdir()
    sound.write_bytes(b"RIFFsound")
    corpus.clips["path"] = ["", "", str(sound), *[""] * 45]
    table = table_of(corpus)
    table.loc[2, "duration"] = 60.0
    linked = written(corpus, tmp_path / "page", table=table, audio="link").read_text()
    assert 'src="../sounds/odd%20one.wav"' in linked
    assert "data:audio" in written(corpus, tmp_path / "page", table=table, audio="embed").read_text()
    assert "<audio" not in written(corpus, tmp_path / "page", table=table, audio="none").read_text()
    sound.unlink()
    with pytest.raises(UserError, match="cannot embed"):
        written(corpus, tmp_path / "page", table=table, audio="embed")


def test_figures_of_an_earlier_page_are_removed(tmp_path: Path) -> None:
    corpus = corpus_of(crossed(12, 4))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.svg").write_text("<svg/>")
    written(corpus, tmp_path)
    assert not (tmp_path / "figures" / "old.svg").exists()
