"""docs/extending.md names files that exist, and its example of a corpus is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from serlab.core.settings import build
from serlab.corpora import descriptions
from serlab.corpora.described import official_clips
from serlab.corpora.description import Files

HOME = Path(__file__).resolve().parent.parent
PAGE = (HOME / "docs" / "extending.md").read_text("utf-8")
TO_BE_WRITTEN = {"inference/stream.py"}
PATHS = re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?|\w+\.py)`", PAGE)
NAMED = {path for path in PATHS if not re.search(r"NAME|ROOM|^src/|^tests/", path)} - TO_BE_WRITTEN


@pytest.mark.parametrize("path", sorted(NAMED))
def test_a_file_that_the_page_names_exists(path):
    assert (HOME / "src" / "serlab" / path).exists()


def test_the_example_of_a_corpus_is_ravdess():
    example = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "pattern" in text)
    shown = build(Files, yaml.safe_load(example)["files"], "the page")
    files = descriptions()["ravdess"].files
    assert (shown.pattern, shown.codes, shown.every) == (files.pattern, files.codes, files.every)
    assert len(official_clips(descriptions()["ravdess"])) == 1440
    assert set(shown.examples) <= set(files.examples)
    assert set(shown.others) <= set(files.others)
