from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import types

import pytest

import serlab

HEAVY = {"torch", "transformers", "pandas", "scipy", "sklearn", "matplotlib", "soundfile", "huggingface_hub"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after ``code``."""
    report = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_serlab_loads_nothing_heavy():
    assert not modules_after("import serlab; serlab.__version__; dir(serlab)") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"], ["predict", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        f"import sys; sys.argv = ['serlab', *{arguments!r}]\n"
        "from serlab.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code"
    )
    assert not modules_after(code) & HEAVY


def test_every_public_name_is_there():
    assert dir(serlab) == sorted(serlab.__all__)
    for name in serlab.__all__:
        assert getattr(serlab, name) is not None


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = serlab.trian


def test_public_functions_stay_functions_when_their_modules_are_loaded():
    # A module of the same name would take the function's place once it is imported.
    for found in pkgutil.iter_modules(serlab.__path__):
        importlib.import_module(f"serlab.{found.name}")
    for name in serlab.__all__:
        assert not isinstance(getattr(serlab, name), types.ModuleType)
