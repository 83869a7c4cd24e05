"""Arguments: every command must end with a documented exit code, and with a sentence if it fails."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fuzz import materials
from fuzz.cases import Case, Fault
from fuzz.commands import called, faults_of

WARM = (
    "pandas",
    "sklearn.svm",
    "serlab.cli.app",
    "serlab.experiments.compare",
    "serlab.inference.files",
    "serlab.evaluation.judge",
    "serlab.report",
    "serlab.leaks",
)

_TEXTS = (
    "", " ", "abc", "-1", "0", "1", "1.5", "1e9", "nan", "inf", "1,2", "1,,2", ",", "1-3", "0,0",
    "99999999999999999999", "None", "true", "é", "a\nb", "\x1b[31mred", "../..", "/", "/dev/null", "/dev/full", "~",
    "*", "$HOME", "--", "-", "=", "a=b", ":", "a:b=c", "@file", "%s", "{0}", "x" * 5000, "\udcff", "'", '"', "[red]",
    "C:\\x", "http://x.org/a.wav", "synthetik", "crema-d", "con", "a b", "0x10", "1_000", "١", "²",
)  # fmt: skip
_SETTINGS = (
    "training.epochs=3", "training.epochs=0", "training.epochs=-1", "training.epochs=abc", "training.epochs=nan",
    "training.epochs=1e999", "training.epochs=[1,2]", "training.epochs={a: 1}", "training.epochs=", "epochs=3",
    "training=3", "model.kind=svm", "model.kind=nonsense", "model.width=8", "model.checkpoint=nowhere",
    "model.checkpoint=", "=", "a", "a=", "=a", "a.b.c.d=1", "model.freeze_layers=99", "training.batch_size=0",
    "training.learning_rate=inf", "resnet18:x=1", "training.epochs=!!python/object/apply:os.getcwd []",
    "training.epochs=*a", "training.epochs=&a [*a]", "training.epochs=\t1", "model.head={}", "model=null",
    "augmentation.views=[]", "augmentation.mixup=2", "training.precision=fp8", "title=x", "training.epochs=2020-01-01",
    "model.features=mfcc", "a\nb=1", "training.epochs=0o17", "training.epochs=yes",
)  # fmt: skip
_YAML = {
    "empty.yaml": "",
    "list.yaml": "- a\n- b\n",
    "bomb.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    + "".join(f"{n}: &{n} [{','.join([f'*{m}'] * 9)}]\n" for m, n in zip("cdefgh", "defghi", strict=True)),
    "deep.yaml": "a: " + "[" * 5000,
    "object.yaml": "model: !!python/object/apply:os.getcwd []\n",
    "loop.yaml": "model: &a {kind: svm, more: *a}\n",
    "tabs.yaml": "model:\n\tkind: svm\n",
    "binary.yaml": "\x00\x01",
    "unknown.yaml": "title: x\nmodel: {kind: svm, nonsense: 1}\n",
    "types.yaml": "title: [1]\nmodel: {kind: [svm]}\ntraining: {epochs: {a: 1}}\n",
    "twice.yaml": "title: x\ntitle: y\nmodel: {kind: svm}\n",
    "huge.yaml": "title: x\nmodel: {kind: resnet, width: 1000000000}\ntraining: {epochs: 1000000000000}\n",
}


def prepare(seeds: Path) -> None:
    """Train a small model and create the files that arguments can name."""
    folder = materials.trained(seeds, ("svm",))["svm"]
    if not (seeds / "svm").exists():
        shutil.copytree(folder, seeds / "svm")
    place = seeds / "named"
    place.mkdir(exist_ok=True)
    for name, text in _YAML.items():
        (place / name).write_text(text, encoding="utf-8")
    (place / "split.csv").write_text("clip,side\n" + "".join(
        f"s{speaker:02}_{label}_{take},{'train' if speaker < 8 else 'dev' if speaker < 10 else 'test'}\n"
        for speaker in range(materials.SPEAKERS) for label in materials.LABELS for take in range(materials.TAKES)
    ))  # fmt: skip
    (place / "bad-split.csv").write_text("clip,side\nunknown,train\n")
    (place / "empty.csv").write_text("")
    (place / "not.parquet").write_text("nothing")
    rows = "".join(f"s{n:02}_calm_0,s{n:02},calm,{n / 20 + 0.1},{0.9 - n / 20}\n" for n in range(12))
    (place / "predictions.csv").write_text(f"clip,speaker,label,prob_calm,prob_sad\n{rows}")
    (place / "empty-folder").mkdir(exist_ok=True)


def make(random: Random, seeds: Path, folder: Path) -> Case:
    """Build a command line for a random command, with valid and invalid arguments and options."""
    import typer.main

    from serlab.cli.app import app

    command, words = typer.main.get_command(app), []
    while hasattr(command, "commands"):
        group: Any = command
        name = random.choice(sorted(group.commands))
        words.append(name)
        command = group.commands[name]
    pool = _named(seeds)
    (folder / "there.wav").write_bytes(b"a file that is there")
    arguments, options = [], []
    for parameter in command.params:
        untyped: Any = parameter
        if untyped.param_type_name == "argument":
            # The default corpus takes minutes to generate, so a corpus is always named.
            count = (
                random.choice((1, 1, 1, 2, 3))
                if untyped.nargs < 0
                else 0
                if random.random() < 0.04 and untyped.required
                else 1
            )
            arguments += [_value(random, untyped, pool, sound=random.random() < 0.75) for _ in range(count)]
        elif untyped.name != "help" and random.random() < (0.85 if untyped.required else 0.15):
            option = random.choice(untyped.opts + untyped.secondary_opts)
            value = [] if untyped.is_flag else [_value(random, untyped, pool, sound=random.random() < 0.6)]
            options += [option, *value] * (2 if random.random() < 0.05 else 1)
    if random.random() < 0.08:
        options.append(
            random.choice(("--nonsense", "--help", "-h", "--version", "-x", "--out", "--format=json", "--set", "--"))
        )
    if words[0] in ("compare", "train") and not {"--recipe", "--recipes"} & set(options):
        # The default recipes are networks, which train for longer than the time limit of an input.
        options += ["--recipes" if words[0] == "compare" else "--recipe", "mfcc-svm"]
    line = [*words, *options, *arguments] if random.random() < 0.5 else [*words, *arguments, *options]
    if "--" not in arguments + options and random.random() < 0.02:
        line = line[: random.randrange(len(line) + 1)]
        if words[0] == "compare" and len(line) < 2:
            line = ["compare", "--help"]
    shown = " ".join(repr(word[:60]) if re.search(r"[^\w./=,:-]", word) or not word else word for word in line)
    return Case(f"{' '.join(words)}: {shown.replace(str(seeds), '.')}", partial(_judge, line, " ".join(words)))


def _named(seeds: Path) -> dict[str, list[str]]:
    """Return meaningful values by the name of an option or argument."""
    named = seeds / "named"
    files = sorted(str(path) for path in named.iterdir())
    runs = sorted(str(path) for path in (seeds / "runs").rglob("*.parquet"))
    clip = str(seeds / "corpus" / "s00_calm_0.wav")
    return {
        "corpus": [str(seeds / "corpus" / "tiny.csv"), *files, clip, str(seeds / "corpus")],
        "paths": [clip, str(seeds / "corpus" / "s01_sad_0.wav"), *files],
        "tables": [*runs, str(named / "predictions.csv"), *files],
        "folder": [str(seeds / "runs" / "tiny"), *(str(Path(run).parents[1]) for run in runs), *files],
        "model": [str(seeds / "svm"), str(seeds / "corpus"), *files],
        "recipes": [
            "mfcc-svm",
            "mfcc-svm,mfcc-svm",
            str(seeds / "recipes" / "tiny-svm.yaml"),
            *(f for f in files if f.endswith("yaml")),
        ],
        "protocol": [
            "speaker-2",
            "speaker-3",
            "speaker-99",
            str(named / "split.csv"),
            str(named / "bad-split.csv"),
            "x.cvs",
        ],
        "split": [str(named / "split.csv"), str(named / "bad-split.csv"), str(named / "empty.csv")],
        "form": ["table", "json", "jsonl", "csv"],
        "out": ["out", "out.csv", "out.jsonl", "a/b/c", "there.wav", "/dev/null", "/proc/x"],
        "to": ["judged", "there.wav", "/proc/x"],
        "settings": list(_SETTINGS),
        "precision": ["auto", "fp32", "bf16", "int8"],
        "folds": ["1", "1,2", "2", "3", "1-2"],
        "seeds": ["0", "0,1", "-1"],
        "audio": ["link", "embed", "none"],
        "side": ["test", "dev", "train"],
        "name": ["resnet18", "mfcc-svm", "resnet81", *(f for f in files if f.endswith("yaml"))],
        "fuse": ["mfcc-svm+resnet18", "tiny-svm", "+", "a+b@dev"],
    }


_SINGULAR = {"recipe": "recipes", "fold": "folds", "seed": "seeds", "data": "corpus"}


def _value(random: Random, parameter: Any, pool: dict[str, list[str]], *, sound: bool) -> str:
    """Choose a value for an argument or option: a suitable one, or anything."""
    known = pool.get(_SINGULAR.get(parameter.name, parameter.name), [])
    if known and (sound or random.random() < 0.3):
        # Valid values come first in the list.
        return known[0] if sound and random.random() < 0.5 else random.choice(known)
    return random.choice(_TEXTS)


def _judge(line: list[str], words: str) -> Iterator[Fault]:
    os.environ["SERLAB_CACHE"] = str(Path("cache").absolute())
    ended = called(line)
    yield from faults_of(ended, words)
