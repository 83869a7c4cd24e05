"""The documentation lists the functions, settings and options of the code."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import serlab
from serlab.cli.app import app
from serlab.recipes import Augmentation, Training

DOCS = Path(__file__).resolve().parent.parent / "docs"
SIGNATURE = re.compile(r"```python\nserlab\.(?P<name>\w+)(?P<arguments>\([^`]*?\))(?: -> [^\n]+)?\n```")
SIGNATURES = {
    found["name"]: found["arguments"] for found in SIGNATURE.finditer((DOCS / "python-api.md").read_text("utf-8"))
}
COMMANDS = typer.main.get_command(app).commands


def test_every_public_call_has_its_signature_in_the_documentation():
    calls = {name for name in serlab.__all__ if inspect.isfunction(getattr(serlab, name))}
    assert set(SIGNATURES) == calls


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_a_documented_signature_is_the_code_s(name):
    function = ast.parse(f"def documented{SIGNATURES[name]}: ...").body[0]
    said = function.args
    names = [argument.arg for argument in (*said.args, *said.kwonlyargs, *([said.kwarg] if said.kwarg else []))]
    defaults = [ast.literal_eval(value) for value in (*said.defaults, *(d for d in said.kw_defaults if d is not None))]
    there = inspect.signature(getattr(serlab, name)).parameters.values()
    assert names == [parameter.name for parameter in there]
    assert defaults == [parameter.default for parameter in there if parameter.default is not parameter.empty]
    assert [argument.arg for argument in said.kwonlyargs] == [p.name for p in there if p.kind is p.KEYWORD_ONLY]


@pytest.mark.parametrize("section", [Training, Augmentation])
def test_every_setting_of_a_recipe_is_documented(section):
    page = (DOCS / "recipes.md").read_text("utf-8").partition("### training")[2]
    assert [field.name for field in fields(section) if f"`{field.name}`" not in page] == []


@pytest.mark.parametrize("command", sorted(name for name in COMMANDS if not hasattr(COMMANDS[name], "commands")))
def test_every_option_of_a_command_is_documented(command):
    page = (DOCS / "cli.md").read_text("utf-8")
    options = {option.split("/")[0] for parameter in COMMANDS[command].params for option in parameter.opts}
    assert sorted(option for option in options if option.startswith("--") and option not in page) == []


def test_the_readme_compares_projects_as_the_documentation_does():
    tables = [
        re.search(r"^\| \| serlab \| nkululeko .*?\n\n", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        for path in (DOCS.parent / "README.md", DOCS / "comparison.md")
    ]
    assert tables[0][0] == tables[1][0]
