"""The page in a real browser: files, recording, long recordings, faults, keyboard, a phone, accessibility."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from serlab.model.model import load_model
from serlab.serve.app import STATIC
from serlab.serve.limits import Limits, Settings

from .conftest import running, sound

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        found = started.chromium.launch(executable_path=BROWSER, args=flags)
        yield found
        found.close()


@pytest.fixture
def page(browser, served):
    """The page of a server with two models; a fault of its scripts or a request to another host fails the test."""
    context = browser.new_context(permissions=["microphone"])
    found = context.new_page()
    faults: list[str] = []
    found.on("pageerror", lambda error: faults.append(str(error)))
    found.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    found.on("request", lambda asked: None if asked.url.startswith((served.url, "blob:")) else faults.append(asked.url))
    found.goto(served.url)
    found.wait_for_selector("#first option", state="attached")
    yield found
    context.close()
    assert not faults


def give(page, content: bytes, name: str = "a.wav"):
    page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": content})


def until(page, condition: str):
    """Wait; Playwright's own way evaluates text in the page, which its content security policy forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def answered(page):
    page.wait_for_selector("#answers:not([hidden]) .model")
    return page.inner_text("#status")


def serious(page):
    """What axe-core finds, apart from minor remarks."""
    import axe_playwright_python

    script = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [(one["impact"], one["id"], [node["target"] for node in one["nodes"]]) for one in found]


def shares(page, model=0):
    rows = page.locator(".model").nth(model).locator(".bars li").all_inner_texts()
    return dict(row.split("\n")[0::2] if row.count("\n") > 1 else row.split("\n") for row in rows)


def test_a_file_is_answered_by_both_models(page, served, tiny_models, tmp_path):
    content = sound(1.5)
    (tmp_path / "a.wav").write_bytes(content)
    give(page, content)
    said = answered(page)
    for place, (recipe, name) in enumerate(served.names.items()):
        expected = load_model(tiny_models[recipe], precision="fp32").predict(tmp_path / "a.wav")
        assert f"{name} answers: {expected.label}." in said
        assert shares(page, place) == {
            label: f"{round(100 * share)} %" for label, share in expected.probabilities.items()
        }
    with page.expect_download() as download:
        page.click("[data-form=json]")
    saved = json.loads(Path(download.value.path()).read_text())
    assert (saved["path"], download.value.suggested_filename) == ("a.wav", "a.json")
    assert list(saved["answers"][1]["probabilities"].values()) == pytest.approx(
        list(expected.probabilities.values()), abs=1e-4
    )


@pytest.mark.cremad
def test_ten_real_clips_are_answered_as_in_python(browser, cremad_root):
    """The shipped model, from the file through browser, decoder and server, against :meth:`Model.predict`."""
    clips = sorted((cremad_root / "AudioWAV").iterdir())[3::750]
    assert len(clips) == 10
    model = load_model(precision="fp32")
    limits = Limits(decoders=1)
    with running(Settings(models=(), precision="fp32", token="", limits=limits)) as served:
        page = browser.new_context().new_page()
        for clip, expected in zip(clips, model.predict(clips), strict=True):
            page.goto(served.url)
            page.wait_for_selector("#first option", state="attached")
            page.set_input_files("#file", clip)
            assert answered(page) == f"box answers: {expected.label}."
            assert shares(page) == {label: f"{round(100 * share)} %" for label, share in expected.probabilities.items()}
            with page.expect_download() as download:
                page.click("[data-form=json]")
            (answer,) = json.loads(Path(download.value.path()).read_text())["answers"]
            assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
            assert [one["code"] for one in answer["warnings"]] == [one.code for one in expected.warnings]
            said = page.locator("#warnings li").all_inner_texts()
            assert [text[1:-1] for text in said] == [one["message"][1:] for one in answer["warnings"]]


def test_a_long_recording_has_lanes_that_play(page):
    page.get_by_role("button", name="44 seconds").click()
    answered(page)
    assert page.locator(".lanes").count() == 2
    page.select_option("#second", "")
    until(page, "document.querySelectorAll('.lanes').length === 1")
    width = page.locator(".lanes .field").bounding_box()["width"]
    page.locator(".lanes .field").click(position={"x": width / 2, "y": 5})
    until(page, "document.getElementById('audio').currentTime > 21")
    with page.expect_download() as download:
        page.click("[data-form=json]")
    (answer,) = json.loads(Path(download.value.path()).read_text())["answers"]
    page.click("summary")
    count = page.locator("tbody tr").count()
    assert count == len(answer["segments"]) > 30
    page.locator("tbody button").nth(7).click()
    start = answer["segments"][7]["start"]
    until(page, f"Math.abs(document.getElementById('audio').currentTime - {start}) < 1")
    with page.expect_download() as download:
        page.click("[data-form=vtt]")
    text = Path(download.value.path()).read_text()
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert "--> 00:00:4" in text
    with page.expect_download() as download:
        page.click("[data-form=csv]")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "path,model,start,end,predicted,prob_calm,prob_happy,prob_sad"
    assert len(lines) == count + 1
    assert serious(page) == []


def test_a_recording_of_the_microphone_is_answered(page):
    page.get_by_role("button", name="Record").click()
    until(page, "document.getElementById('record-text').textContent.includes('0:01')")
    page.get_by_role("button", name="Stop").click()
    assert "answers:" in answered(page)
    assert page.evaluate("document.getElementById('audio').duration") > 0.9


MICROPHONES = """
    window.microphones = [];
    const ask = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = async function (...how) {
      const found = await ask.apply(this, how);
      window.microphones.push(found.getTracks()[0]);
      return found;
    };
"""
LIVE = "microphones.filter(({ readyState }) => readyState === 'live').length"


@pytest.fixture
def microphones(page):
    """Let the page count the microphones that it was given."""
    page.context.add_init_script(MICROPHONES)
    page.reload()
    page.wait_for_selector("#first option", state="attached")


@pytest.mark.usefixtures("microphones")
def test_a_double_click_starts_one_recording(page):
    page.dblclick("#record")
    until(page, "document.getElementById('record-text').textContent.includes('0:01')")
    assert page.evaluate("microphones.length") == 1
    assert page.get_attribute("#record", "aria-disabled") == "false"
    page.click("#record")
    assert "answers:" in answered(page)
    assert page.evaluate(LIVE) == 0


@pytest.mark.usefixtures("microphones")
def test_a_recording_that_is_full_ends_once_and_is_sent(page):
    """The limit of 60 s is made 1 s."""
    script = (STATIC / "record.js").read_text(encoding="utf-8").replace("MOST_SECONDS = 60", "MOST_SECONDS = 1")
    page.route("**/record.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.reload()
    sent = []
    page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
    page.click("#record")
    assert "answers:" in answered(page)
    page.wait_for_timeout(1500)
    assert (len(sent), page.evaluate("microphones.length"), page.evaluate(LIVE)) == (2, 1, 0)
    assert page.inner_text("#record-text") == "Record"


@pytest.mark.usefixtures("microphones")
def test_a_recorder_that_cannot_start_turns_the_microphone_off(page):
    page.evaluate("() => { window.AudioWorkletNode = class { constructor() { throw new Error(); } }; }")
    page.click("#record")
    until(page, "document.getElementById('error').textContent")
    assert (page.evaluate("microphones.length"), page.evaluate(LIVE)) == (1, 0)
    assert page.get_attribute("#record", "aria-disabled") == "false"


def test_the_last_choice_counts_even_if_it_comes_first(page):
    held = []
    page.route("**/calm.mp3", lambda route: held.append(route))
    page.get_by_role("button", name="Calm voice").click()
    give(page, sound(1.5))
    answered(page)
    assert len(held) == 1
    held[0].continue_()
    page.wait_for_timeout(500)
    assert page.evaluate("document.getElementById('audio').duration") == pytest.approx(1.5)


def test_an_example_that_does_not_come_is_explained(page):
    page.route("**/calm.mp3", lambda route: route.abort())
    page.get_by_role("button", name="Calm voice").click()
    until(page, "document.getElementById('error').textContent")
    assert page.inner_text("#error") == "The server does not answer; is it still running?"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello", "The recording cannot be read: not audio."),
        (sound(1)[:44] + bytes(32000), "The recording has no usable sound: silent."),
    ],
)
def test_a_bad_file_is_explained(page, content, sentence):
    give(page, content)
    until(page, "document.getElementById('error').textContent")
    assert page.inner_text("#error") == sentence
    assert page.is_hidden("#answers")
    give(page, sound(1))
    answered(page)
    assert page.inner_text("#error") == ""


def test_a_file_that_is_too_large_is_not_sent(browser, started):
    with started(max_mb=0.05) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("#first option", state="attached")
        give(page, sound(32))
        until(page, "document.getElementById('error').textContent")
        assert page.inner_text("#error") == "The file has 1 MB; at most 0.05 MB can be sent."
        page.close()


def test_everything_works_with_the_keyboard(page):
    page.get_by_role("button", name="Calm voice").focus()
    reached = set()
    page.keyboard.press("Enter")
    answered(page)
    page.locator("body").press("Home")
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"file", "record", "first", "second", "position", "CSV", "JSON", "WebVTT"} <= reached
    page.focus("#position")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#position", "aria-valuetext").endswith("of 0:01")
    assert float(page.evaluate("document.getElementById('audio').currentTime")) == pytest.approx(0.5, abs=0.05)
    page.keyboard.press(" ")
    until(page, "document.getElementById('audio').currentTime > 0.6")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_axe_finds_nothing(browser, served, scheme):
    context = browser.new_context(viewport=PHONE, color_scheme=scheme)
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_selector("#first option", state="attached")
    assert serious(page) == []
    give(page, sound(1.5))
    answered(page)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.goto(f"{served.url}/docs")
    page.wait_for_selector("h2 >> text=POST /v1/predict:batch")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    context.close()


def test_names_and_labels_are_text(page):
    give(page, sound(1), "<img src=x onerror=alert(1)>.wav")
    answered(page)
    assert page.locator("img").count() == 0


def test_a_token_is_asked_for(browser, started):
    with started(token="sesame") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("#token-label:not([hidden])")
        page.fill("#token", "sesame")
        page.press("#token", "Tab")
        page.wait_for_selector("#first option", state="attached")
        give(page, sound(1))
        assert "answers:" in answered(page)
        page.close()
