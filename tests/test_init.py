from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import serlab
from serlab.cli.app import app

SCRIPT = """\
import numpy as np
import serlab

model = serlab.load_model("MODEL", precision="fp32")
reveal_type(model)
reveal_type(model.predict("a.wav"))
reveal_type(model.predict(np.zeros(16000), 16000).label)
reveal_type(model.predict(["a.wav", "b.wav"]))
reveal_type(model.info.recipe)
reveal_type(serlab.predict("MODEL", ["a.wav"]).predictions)
reveal_type(serlab.audit(serlab.load_corpus("synthetic")))
reveal_type(serlab.train("mfcc-svm", "synthetic"))
serlab.load_model(3)  # wrong
serlab.no_such_name  # wrong
"""
REVEALED = [
    "serlab.model.model.Model",
    "serlab.model.prediction.Prediction",
    "str | None",
    "list[serlab.model.prediction.Prediction]",
    "str | None",
    "tuple[serlab.model.prediction.Prediction, ...]",
    "tuple[serlab.leaks.findings.Finding, ...]",
    "serlab.model.model.Model",
]
LEARNS = {"torch", "transformers", "joblib", "sklearn", "scipy", "matplotlib", "huggingface_hub"}
HEAVY = LEARNS | {"numpy", "pandas", "pyarrow", "soundfile", "soxr"}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a new process has loaded after ``code``."""
    report = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_serlab_loads_nothing_heavy():
    assert not modules_after("import serlab; serlab.__version__; dir(serlab)") & HEAVY


def test_importing_the_command_line_loads_nothing_heavy():
    assert not modules_after("import serlab.cli") & HEAVY


def modules_after_command(*arguments: str) -> set[str]:
    return modules_after(
        f"import sys; sys.argv = ['serlab', *{arguments!r}]\n"
        "from serlab.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code"
    )


def commands(group: typer.Typer) -> Iterator[list[str]]:
    """Yield every command below a group, as typed."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield [command.name or command.callback.__name__]
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield [str(inner.name)]
        yield from ([str(inner.name), *words] for words in commands(inner.typer_instance))


@pytest.mark.parametrize("words", [[], *commands(app)], ids=" ".join)
def test_help_loads_nothing_heavy(words):
    assert not modules_after_command(*words, "--help") & HEAVY


@pytest.mark.parametrize("command", ["--version", "corpora", "protocols"])
def test_what_needs_no_data_loads_nothing_heavy(command):
    assert not modules_after_command(command) & HEAVY


def test_recipes_are_listed_without_what_learns():
    assert not modules_after_command("recipes") & LEARNS


def test_every_public_name_is_there():
    assert dir(serlab) == sorted(serlab.__all__)
    for name in serlab.__all__:
        assert getattr(serlab, name) is not None


def test_type_checkers_see_the_same_names():
    stub = Path(serlab.__file__).with_suffix(".pyi")
    assert stub.is_file()
    assert stub.with_name("py.typed").is_file()
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imported = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            imported |= {name.asname: (node.module, name.name) for name in node.names}
    (listed,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    assert listed == sorted(serlab.__all__)
    assert {*imported, "__version__"} == set(listed)
    for name, (module, attribute) in imported.items():
        assert getattr(importlib.import_module(module), attribute) is getattr(serlab, name)


def test_a_user_s_script_is_type_checked(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    how = ["--strict", "--no-incremental", "--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent"]
    source = str(Path(serlab.__file__).parents[1])
    settings = Path(__file__).resolve().parents[1] / "pyproject.toml"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *how, "--config-file", str(settings), str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": source},
        cwd=tmp_path,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    errors = re.findall(r"script\.py:(\d+): error", done.stdout)
    assert [kind for kind in revealed if kind == "Any"] == [], done.stdout
    assert revealed == REVEALED, done.stdout
    assert errors == [str(1 + SCRIPT.splitlines().index(line)) for line in SCRIPT.splitlines() if "# wrong" in line]


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = serlab.trian


def test_public_functions_stay_functions_when_their_modules_are_loaded():
    # A module of the same name would replace the function once it is imported.
    for found in pkgutil.iter_modules(serlab.__path__):
        importlib.import_module(f"serlab.{found.name}")
    for name in serlab.__all__:
        assert not isinstance(getattr(serlab, name), types.ModuleType)


IMPORT_ALL = """
import builtins, importlib, pkgutil

ABSENT = {"fcntl", "grp", "pwd", "resource", "termios"}

def guarded(name, globals=None, *rest, load=builtins.__import__, **named):
    importer = (globals or {}).get("__name__", "")
    if importer.startswith("serlab") and name in ABSENT:
        raise ModuleNotFoundError(f"{importer} imports {name}")
    return load(name, globals, *rest, **named)

builtins.__import__ = guarded
import serlab
for module in pkgutil.walk_packages(serlab.__path__, "serlab."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_every_module_imports_without_what_windows_lacks():
    ended = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
