"""Odd and damaged corpora: each media entry must become a clip or be listed; no label may be lost silently."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fuzz import materials, sounds
from fuzz.cases import FREE, KEPT, WHOLE, Case, Fault, raised, sentence_faults, short
from fuzz.folders import ODDITIES, Tree, put
from fuzz.table_changes import GENERAL, Made, untouched, write

WARM = (
    "pandas",
    "sklearn.svm",
    "serlab.experiments.compare",
    "serlab.inference.files",
    "serlab.corpora.own",
    "serlab.corpora.screening",
)


def prepare(seeds: Path) -> None:
    """Train a small model and make one sound per format."""
    folder = materials.trained(seeds, ("svm",))["svm"]
    if not (seeds / "svm").exists():
        shutil.copytree(folder, seeds / "svm")
    shelf = seeds / "sounds"
    shelf.mkdir(exist_ok=True)
    for name, form in sounds.FORMATS.items():
        (shelf / f"{name}{form.suffix}").write_bytes(sounds.make(Random(name), name).data)


def make(random: Random, seeds: Path, folder: Path) -> Case:
    """Make a folder of labels, or a table of clips, with a few odd things in it."""
    if random.random() < 0.4:
        return _table(random, seeds, folder)
    tree = Tree(folder / random.choice(("corpus", "corpus", "my corpus", "korpüs")))
    for label in materials.LABELS:
        tree.labels.add(label)
        for number in range(random.choice((1, 2, 4))):
            put(tree, tree.root / label / f"s{number:02}.wav", seeds / "corpus" / f"s{number:02}_{label}_0.wav")
    for _ in range(random.choice((1, 1, 2, 3))):
        before = set(tree.media)
        random.choice(ODDITIES)(random, tree, seeds)
        tree.causes |= dict.fromkeys(set(tree.media) - before, tree.how[-1])
    text = f"folder: {', '.join(tree.how)}"
    if random.random() < 0.5:
        return Case(f"predict {text}", partial(_judge_predict, tree, seeds / "svm"))
    return Case(f"load {text}", partial(_judge_load, tree))


def _judge_predict(tree: Tree, model: Path) -> Iterator[Fault]:
    from serlab import SerlabError, predict

    where = "predict folder"
    try:
        said = predict(model, tree.root)
    except SerlabError as error:
        yield from _odd_sentence(error, tree, where)
        return
    except Exception as error:
        yield raised(error)
        return
    yield from _unaccounted(
        tree, [str(row.path) for row in said.predictions], [entry.path for entry in said.excluded], where
    )


def _judge_load(tree: Tree) -> Iterator[Fault]:
    from serlab import SerlabError, load_corpus
    from serlab.corpora.screening import screen

    where = "load folder"
    try:
        corpus = load_corpus(str(tree.root))
        listed = [*_exclusions(corpus), *screen(corpus)]
    except SerlabError as error:
        yield from _odd_sentence(error, tree, where)
        return
    except Exception as error:
        yield raised(error)
        return
    unusable = {entry.path for entry in listed}
    usable = [path for path in corpus.clips["path"] if path not in unusable]
    yield from _unaccounted(tree, usable, unusable, where)
    said = printed() + " ".join(f"{entry.clip} {entry.path} {entry.reason}" for entry in listed)
    for label in tree.labels - set(corpus.labels):
        if label not in said:
            yield Fault("unlisted", f"the label {label!r} is lost", f"{where}: label {label!r} lost")


def _odd_sentence(error: Exception, tree: Tree, where: str) -> Iterator[Fault]:
    yield from sentence_faults(str(error), where, quotes=" ".join(map(repr, tree.media)) + " ".join(tree.how))


def _shown(path: Path) -> str:
    """Return a path as serlab shows it if it is not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _unaccounted(tree: Tree, usable: Iterable[str], listed: Iterable[str], where: str) -> Iterator[Fault]:
    """Yield entries that are neither used nor listed, and invalid ones that are used."""
    used, named = (
        {os.path.realpath(path) for path in paths} | set(map(str, paths)) for paths in (list(usable), list(listed))
    )
    said = printed()
    for path, wrong in tree.media.items():
        there = {str(path), os.path.realpath(path)}
        cause = tree.causes.get(path, "sound").replace(": ", " ")
        if wrong and there & used:
            yield Fault("unlisted", f"{path.name!r} is used although {wrong}", f"{where}: {wrong} used, {cause}")
        elif not there & (used | named) and path.name not in said and _shown(path) not in named:
            yield Fault(
                "unlisted",
                f"{path.relative_to(tree.root)!s} is neither used nor listed",
                f"{where}: not listed, {cause}",
            )


def _exclusions(value: Any, depth: int = 3) -> Iterator[Any]:
    """Return all exclusions of a corpus."""
    from serlab.core import Exclusion

    if isinstance(value, Exclusion):
        yield value
    elif depth and isinstance(value, list | tuple):
        for each in value:
            yield from _exclusions(each, depth - 1)
    elif depth and hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _exclusions(getattr(value, name), depth - 1)


def printed() -> str:
    """Return the output so far."""
    sys.stderr.flush()
    return Path("/proc/self/fd/2").read_text(errors="replace")


# Tables of clips
# ----------------------------------------------------------------------------------------------------


def _table(random: Random, seeds: Path, folder: Path) -> Case:
    import pandas as pd

    rows = [
        {"path": str(seeds / "corpus" / f"s{speaker:02}_{label}_0.wav"), "label": label, "speaker": f"s{speaker:02}"}
        for speaker in range(4)
        for label in materials.LABELS
    ]
    made = Made(pd.DataFrame(rows), random.choice((".csv", ".csv", ".parquet")))
    for _ in range(random.choice((1, 1, 2))):
        random.choice((*GENERAL, untouched, _segments, _segments, _files, _files))(random, made, seeds)
    path = folder / f"clips{made.suffix}"
    write(made, path)
    text = f"load table {made.suffix}: {', '.join(made.how)}; expected: {made.expect}"
    return Case(text, partial(_judge_table, made, path))


def _segments(random: Random, made: Made, seeds: Path) -> None:
    """Add columns that select a part of each file."""
    names = random.choice((("start", "end"), ("begin", "duration"), ("onset", "offset"), ("start_time", "end_time")))
    made.frame = made.frame.assign(**{names[0]: 0.1, names[1]: 0.2})
    made.did(f"segments: {' and '.join(names)}", KEPT)


def _files(random: Random, made: Made, seeds: Path) -> None:
    """Make files missing, damaged, of another format or differently named."""
    if "path" not in made.frame or not len(made.frame):
        return
    how = random.choice(
        ("one absent", "all absent", "damaged", "m4a", "folder", "same file twice", "URL", "far too long", "null byte")
    )
    column = made.frame["path"].astype(object).copy()
    place = random.randrange(len(column))
    bad = Path.cwd() / "damaged.wav"
    bad.write_bytes(b"RIFF")
    m4a = sorted((seeds / "sounds").glob("*.m4a"))
    values: dict[str, str] = {
        "one absent": "absent.wav", "damaged": str(bad), "m4a": str(m4a[0]) if m4a else "phone.m4a",
        "folder": str(seeds), "same file twice": str(column.iloc[0]), "URL": "https://example.org/a.wav",
        "far too long": "x" * 5000 + ".wav",
        "null byte": "a\0b.wav",
    }  # fmt: skip
    if how == "all absent":
        column = column.map(lambda name: f"{name}x")
    else:
        column.iloc[place] = values[how]
    made.frame = made.frame.assign(path=column)
    made.did(f"files: {how}", KEPT)


def _judge_table(made: Made, path: Path) -> Iterator[Fault]:
    from serlab import SerlabError, load_corpus
    from serlab.corpora.screening import screen

    where = f"table {made.suffix}: {made.how[0].partition(':')[0] if made.how else 'untouched'}"
    try:
        corpus = load_corpus(str(path))
        listed = [*_exclusions(corpus), *screen(corpus)]
    except SerlabError as error:
        yield from sentence_faults(str(error), where, quotes=" ".join(made.how))
        if made.expect == WHOLE:
            yield Fault("refused", f"refused: {short(str(error))}", where)
        return
    except Exception as error:
        yield raised(error)
        return
    said = printed() + " ".join(f"{entry.clip} {entry.path} {entry.reason}" for entry in listed)
    paths = set(corpus.clips["path"]) | {entry.path for entry in listed}
    rows = len(corpus.clips) + len({entry.path for entry in listed} - set(corpus.clips["path"]))
    if made.expect != FREE and rows < len(made.frame):
        yield Fault(
            "unlisted", f"{rows} of {len(made.frame)} rows became clips or are listed ({len(paths)} files)", where
        )
    for how in made.how:
        asked_for = how[10:].split(" and ") if how.startswith("segments: ") else []
        # Spans that cover whole files are accepted without a message.
        whole = corpus.clips["duration"].max() > 0.15
        if whole and not all(name in said for name in asked_for):
            yield Fault("unlisted", f"the columns {how[10:]} were ignored without a word", f"{where}: columns ignored")
        near = how in ("labels: upper case", "labels: blanks") and len(corpus.labels) > len(materials.LABELS)
        if near and "label" not in said:
            yield Fault("unlisted", f"labels taken as {corpus.labels}", f"{where}: near labels")
