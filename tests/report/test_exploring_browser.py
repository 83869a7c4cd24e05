"""The page of a look at a corpus in a real browser: a phone, light and dark, accessibility, hover, keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.report.explored import corpus_of, crossed
from tests.report.test_exploring_pages import written

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    corpus = corpus_of(crossed(12, 8, without=[("s0003", "label02")]))
    corpus.clips.loc[0, "duration"] = 60.0
    return written(corpus, tmp_path_factory.mktemp("explore"), audio="link").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_it_fits_and_axe_finds_nothing(browser: Any, address: str, width: int, scheme: str) -> None:
    import axe_playwright_python

    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    script = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
    assert faults == []
    page.close()


def test_a_mark_under_the_pointer_names_its_clip_and_tables_take_the_focus(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    titles = page.evaluate("""() => {
        const named = [];
        for (const mark of document.querySelectorAll("#space-label svg use[x]")) {
            mark.scrollIntoView({block: "center"});
            const box = mark.getBoundingClientRect();
            const under = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            named.push(under.querySelector("title")?.textContent ?? "");
        }
        return named;
    }""")
    assert len(titles) == 95
    assert all(title.startswith(("clip0", "label0")) for title in titles)
    page.focus("#grid .scroll")
    before = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert before == "Clips by speaker and label"
    page.close()
