"""The extras of pyproject.toml are those that make installs and the pages list."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
EXTRAS = set(tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
FOR_USERS = EXTRAS - {"dev", "docs"}


@pytest.mark.parametrize("target", ["lowest.txt", "constraints.txt"])
def test_make_installs_every_extra_for_the_tests(target):
    lines = (HOME / "Makefile").read_text("utf-8").splitlines()
    (extras,) = (re.search(r"\.\[([\w,]+)\]'", line) for line in lines if "-e '.[" in line and target in line)
    assert set(extras[1].split(",")) == (EXTRAS if target == "constraints.txt" else FOR_USERS)


def test_the_page_for_users_installs_every_extra():
    page = (HOME / "docs" / "getting-started.md").read_text("utf-8")
    assert set(re.search(r"'\.\[([\w,]+)\]'", page)[1].split(",")) == FOR_USERS


def test_the_design_has_a_line_for_every_extra():
    page = (HOME / "docs" / "design.md").read_text("utf-8").partition("Extras:")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == EXTRAS
