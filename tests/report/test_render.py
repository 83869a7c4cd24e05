import html.parser
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from serlab.core import MachineError, UserError
from serlab.report import build, build_overview, render
from serlab.report.svg import exports
from serlab.tables.predictions import read_runs, write_table


class Page(html.parser.HTMLParser):
    """What a page would load, and whether its elements are nested as they should be."""

    void = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.addresses, self.ids, self.text, self.open = set(), [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


@pytest.fixture(scope="module")
def page(comparison):
    return build(comparison)


@pytest.fixture
def own(comparison, page, tmp_path):
    """A copy of the comparison and its report that a test may change."""
    return shutil.copytree(comparison, tmp_path / "runs" / "crema-d" / "speaker-3")


def read(page: Path) -> Page:
    return Page(page.read_text(encoding="utf-8"))


def cell(page: Page) -> str:
    return re.sub(r"\s+", " ", " ".join(page.text))


def test_it_writes_page_markdown_data_and_figures(comparison, page):
    assert page == comparison / "report" / "index.html"
    found = {path.relative_to(page.parent).as_posix() for path in page.parent.rglob("*") if path.is_file()}
    assert {"index.html", "report.md", "report.json", "figures/uar.svg", "figures/confusion-2.svg"} <= found
    assert not [name for name in found if Path(name).name.startswith(".")]


def test_the_answer_stands_first_and_the_signature_is_there(page):
    data = json.loads((page.parent / "report.json").read_text())
    text = cell(read(page))
    finding = text.index(data["answer"]["finding"])
    assert finding < text.index("The recipes") < text.index("Figures") < text.index("Method and signature")
    corpus = data["corpus"]
    for needed in (data["signature"], corpus["fingerprint"], corpus["licence"], corpus["copy"], "serlab 0.1.0"):
        assert needed in text
    for recipe in data["recipes"]:
        assert recipe["hash"] in text
    markdown = (page.parent / "report.md").read_text()
    assert data["answer"]["finding"] in markdown.replace("\\", "")
    for link in re.findall(r"!\[[^\n]*\]\(([^)]+)\)", markdown):
        assert (page.parent / link).is_file()


def test_the_page_is_one_file_that_asks_the_network_for_nothing(page):
    parsed = read(page)
    assert parsed.open == []
    assert parsed.tags.isdisjoint({"script", "link", "iframe", "img", "object", "embed", "form", "base"})
    assert all(address.startswith("#") for address in parsed.addresses)
    text = page.read_text()
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_same_runs_give_the_same_bytes(page, comparison):
    before = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}
    build(comparison)
    assert {path: path.read_bytes() for path in before} == before


def evil_run(add_run) -> Path:
    """A run whose label, clip, speaker, recipe and licence are an attack."""
    attack = '<script>alert(1)</script>"onload=x|`*'
    path = add_run("mfcc-svm", 1)
    table = read_runs(path.parent.parent)[0].table.rename(columns={"logit_angry": f"logit_{attack}"})
    table["label"] = table["label"].replace("angry", attack)
    table["clip"] = attack + table["clip"]
    table["speaker"] = table["speaker"] + attack
    write_table(path, table)
    signature = json.loads(path.with_suffix(".json").read_text())
    signature["corpus"] |= {"labels": [attack, *signature["corpus"]["labels"][1:]], "licence": attack, "copy": attack}
    signature["recipe"]["title"] = attack
    signature["exclusions"] = [{"clip": attack, "path": "", "reason": attack, "fold": 1, "side": "test"}]
    path.with_suffix(".json").write_text(json.dumps(signature))
    return path.parent.parent


def test_names_of_users_cannot_inject(add_run):
    page = build(evil_run(add_run))
    parsed = read(page)
    assert "script" not in parsed.tags
    assert "<script>alert(1)</script>" in cell(parsed)  # shown as text
    assert not re.search(r'<[a-z]+ [^>]*"onload=', page.read_text())
    assert "<script" not in (page.parent / "report.md").read_text().replace("\\<script", "")
    for figure in (page.parent / "figures").glob("*.svg"):
        assert "<script" not in figure.read_text()


def clips_of(comparison: Path, folder: Path) -> pd.DataFrame:
    """A table with a small file for each worst clip; its name is awkward on purpose."""
    folder.mkdir(parents=True)
    data = json.loads((comparison / "report" / "report.json").read_text())
    paths = {}
    for entry in (entry for recipe in data["recipes"] for entry in recipe["worst"]):
        path = folder / f"{entry['clip']} #1?.wav"
        path.write_bytes(b"RIFF-not-really")
        paths[entry["clip"]] = str(path)
    return pd.DataFrame({"clip": list(paths), "path": list(paths.values()), "speaker": ""})


def test_clips_are_linked_relative_to_the_page(own, tmp_path):
    clips = clips_of(own, tmp_path / "own audio")
    page = build(own, clips=clips)
    addresses = read(page).addresses
    sounds = [address for address in addresses if not address.startswith("#")]
    assert len(sounds) == 36
    for address in sounds:
        assert not address.startswith(("/", "file:", "http"))
        assert (page.parent / unquote(address)).resolve().is_file()
    text = page.read_text()
    assert str(tmp_path) not in text
    assert text.count('preload="none"') == 36


def test_clips_are_embedded_or_left_out_when_asked(add_run, tmp_path):
    folder = add_run("mfcc-svm", 1).parent.parent
    assert "audio" not in read(build(folder)).tags
    clips = clips_of(folder, tmp_path / "audio")
    assert "audio" not in read(build(folder, clips=clips, audio="none")).tags
    embedded = read(build(folder, clips=clips, audio="embed")).addresses
    assert sum(address.startswith("data:audio/") for address in embedded) == 12
    Path(clips["path"].iloc[0]).unlink()
    with pytest.raises(UserError, match=r"cannot embed .* use audio=link or audio=none"):
        build(folder, clips=clips, audio="embed")


def test_figures_are_files_for_export_and_those_of_an_earlier_report_go(add_run, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "exports", exports)
    add_run("mfcc-svm", 1)
    folder = add_run("resnet18", 1).parent.parent
    build(folder)
    curves = [folder / "report" / "figures" / f"curves.{ending}" for ending in ("svg", "pdf", "png")]
    assert all(path.stat().st_size > 2000 for path in curves)
    shutil.rmtree(folder / "resnet18")
    build(folder)
    assert not any(path.exists() for path in curves)


def test_the_ledger_beside_the_runs_is_read(add_run, tmp_path):
    folder = add_run("mfcc-svm", 1).parent.parent
    line = {"corpus": "crema-d", "protocol": "speaker-3", "recipe": "forgotten", "hash": "b", "fold": 1, "seed": 0}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n\n" + json.dumps(line) + "\n")
    page = build(folder)
    assert json.loads((page.parent / "report.json").read_text())["ledger"]["evaluations"] == 2
    assert "forgotten" in cell(read(page))
    (tmp_path / "ledger.jsonl").write_text("{half a li")
    with pytest.raises(UserError, match=r"ledger\.jsonl has a line that is not JSON"):
        build(folder)


def test_the_ledger_is_found_from_within_the_folder(add_run, tmp_path, monkeypatch):
    folder = add_run("mfcc-svm", 1).parent.parent
    line = {"corpus": "crema-d", "protocol": "speaker-3", "recipe": "mfcc-svm", "hash": "b", "fold": 1, "seed": 0}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    for here, there in ((folder.parent, folder.name), (folder, ".")):
        monkeypatch.chdir(here)
        page = build(Path(there))
        assert json.loads((page.parent / "report.json").read_text())["ledger"]["evaluations"] == 1
    monkeypatch.chdir(folder.parent)
    build_overview(Path())
    assert list(tmp_path.rglob("ledger.jsonl")) == [tmp_path / "ledger.jsonl"]


def test_each_table_of_markdown_follows_an_empty_line(page):
    lines = (page.parent / "report.md").read_text().splitlines()
    tables = [number for number, line in enumerate(lines) if line.startswith("|---")]
    assert tables
    assert all(not lines[number - 2].strip() for number in tables)


@pytest.mark.parametrize("text", ["[]", "{}", '{"findings": []}', "no"])
def test_an_audit_that_is_none_is_refused_by_name(add_run, text):
    folder = add_run("mfcc-svm", 1).parent.parent
    (folder / "audit.json").write_text(text)
    with pytest.raises(UserError, match=r"audit\.json is not"):
        build(folder)


def test_nothing_to_report(tmp_path):
    with pytest.raises(UserError, match="there are no runs below"):
        build(tmp_path)


def test_a_recipe_to_show_that_has_no_runs(add_run):
    folder = add_run("mfcc-svm", 1).parent.parent
    for write, of in ((build, folder), (build_overview, folder.parent)):
        with pytest.raises(UserError, match=r"no runs of resnet99 below .*; there are of: mfcc-svm\.$"):
            write(of, recipes=["resnet99"])


def test_a_report_that_cannot_be_written(add_run):
    folder = add_run("mfcc-svm", 1).parent.parent
    (folder / "report").write_text("in the way")
    with pytest.raises(MachineError, match="cannot write"):
        build(folder)


@pytest.mark.slow
def test_a_browser_shows_it_without_a_complaint(add_run, tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    page = build(evil_run(add_run))
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--window-size=390,800", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(tmp_path)})
    assert done.returncode == 0
    assert "Method and signature" in done.stdout
    assert "CONSOLE" not in done.stderr
