"""Odd and damaged prediction tables: evaluated or refused in a sentence, never silently fewer rows.

The result must account for every clip of the table: evaluated, or listed as left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz import materials
from fuzz.cases import FREE, WHOLE, Case, Fault, raised, sentence_faults, short
from fuzz.commands import called, faults_of
from fuzz.table_changes import CHANGES, Made, write

WARM = ("pandas", "serlab.evaluation.judge", "serlab.corpora.own", "serlab.cli.app")

_CLOSE = 1e-6
_CLIP_NAMES = ("clip", "path", "file", "filename")


def prepare(seeds: Path) -> None:
    """Write a corpus with speakers and labels."""
    materials.corpus(seeds / "corpus")


def make(random: Random, seeds: Path, folder: Path) -> Case:
    """Write a table changed in one or two ways, sometimes with a second one or a corpus that completes it."""
    with_corpus = random.random() < 0.4
    paired = random.random() < 0.25
    made = _sound(random, with_corpus)
    sound = made.frame.copy()
    for _ in range(random.choice((1, 1, 1, 2))):
        random.choice(CHANGES)(random, made, seeds)
    path = folder / f"table{made.suffix}"
    write(made, path)
    more = f"{', with corpus' if with_corpus else ''}{', paired' if paired else ''}"
    text = f"{made.suffix[1:]}: {', '.join(made.how)}{more}"
    corpus = seeds / "corpus" / "tiny.csv" if with_corpus else None
    second = folder / "second.csv"
    if paired:
        write(Made(sound, ".csv"), second)
        return Case(f"{text}; expected: {made.expect}", partial(_judge_pair, made, path, second, corpus))
    return Case(f"{text}; expected: {made.expect}", partial(_judge, made, path, sound, corpus))


def _sound(random: Random, with_corpus: bool) -> Made:
    import pandas as pd

    noise = np.random.default_rng(random.getrandbits(32))
    rows = [
        {"clip": f"s{speaker:02}_{label}_{take}", "speaker": f"s{speaker:02}", "label": label}
        for speaker in range(materials.SPEAKERS)
        for label in materials.LABELS
        for take in range(materials.TAKES)
    ]
    table = pd.DataFrame(rows)
    logits = noise.normal(size=(len(rows), len(materials.LABELS)))
    for index, label in enumerate(materials.LABELS):
        logits[:, index] += 1.5 * (table["label"] == label)
    kind = random.choice(("logit", "prob", "prob"))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for index, label in enumerate(materials.LABELS):
        table[f"{kind}_{label}"] = (logits if kind == "logit" else shares)[:, index]
    if with_corpus and random.random() < 0.6:
        table = table.drop(columns=["speaker", "label"])
    if random.random() < 0.3:
        table = table.assign(side="test", fold=1, seed=0)
    return Made(table, random.choice((".csv", ".csv", ".parquet", ".parquet", ".jsonl")))


def _judge(made: Made, path: Path, sound: Any, corpus: Path | None) -> Iterator[Fault]:
    from serlab import SerlabError, evaluate, load_corpus

    where = _where(made)
    known = load_corpus(str(corpus)) if corpus else None
    try:
        said = evaluate(path, known).to_dict()
    except SerlabError as error:
        yield from sentence_faults(str(error), where, quotes=" ".join(made.how))
        if made.expect == WHOLE:
            yield Fault("refused", f"refused: {short(str(error))}", where)
        return
    except Exception as error:
        yield raised(error)
        return
    yield from _result_faults(said, where)
    if made.expect == FREE:
        return
    given = made.frame
    judged, left_out = said["clips"], len({entry["clip"] for entry in said["exclusions"]})
    names = [str(name).lower() for name in given.columns]
    clips = given.iloc[:, next(index for index, name in enumerate(names) if name in _CLIP_NAMES)]
    wanted = int(clips.astype(str).nunique())
    if judged + left_out != wanted:
        text = f"{judged} clips judged and {left_out} left out of {wanted}"
        yield Fault("unlisted", text, where)
    if made.expect == WHOLE and not (np.array(said["confusion"]).sum() == len(sound) and not left_out):
        yield Fault("changed", f"{judged} clips judged, {left_out} left out", where)
    if made.expect == WHOLE:
        reference = evaluate(_plain(sound), known).to_dict()
        for metric, score in said["scores"].items():
            if abs(score["value"] - reference["scores"][metric]["value"]) > _CLOSE:
                yield Fault(
                    "changed", f"{metric} {score['value']} and not {reference['scores'][metric]['value']}", where
                )


def _plain(sound: Any) -> Any:
    """The valid table in memory, with logits."""
    names = [name for name in sound.columns if name.startswith("prob_")]
    return sound.assign(**{f"logit_{name[5:]}": np.log(sound[name]) for name in names}).drop(columns=names)


def _result_faults(said: dict[str, Any], where: str) -> Iterator[Fault]:
    for metric, score in said["scores"].items():
        value = score["value"]
        if not (isinstance(value, float) and math.isfinite(value) and -1 <= value <= 1):
            yield Fault("changed", f"{metric} is {value}", f"{where}: no score")
    try:
        json.dumps(said, allow_nan=False)
    except (TypeError, ValueError) as error:
        yield Fault("changed", f"the result is not JSON: {error}", f"{where}: not JSON")


def _judge_pair(made: Made, path: Path, second: Path, corpus: Path | None) -> Iterator[Fault]:
    """Compare two tables with the command line."""
    where = f"pair, {_where(made)}"
    arguments = ["evaluate", str(path), str(second), "--format", "json"]
    ended = called([*arguments, *(["--corpus", str(corpus)] if corpus else [])])
    yield from faults_of(ended, where)
    if ended.code in (0, 1) and ended.error is None:
        try:
            said = json.loads(ended.out)
        except ValueError as error:
            yield Fault("changed", f"standard output is not JSON: {error}", f"{where}: not JSON")
            return
        if len(said["tables"]) != 2 or len(said["pairs"]) != 1:
            yield Fault("unlisted", f"{len(said['tables'])} tables and {len(said['pairs'])} pairs", where)
    elif ended.code == 2 and made.expect == WHOLE:
        yield Fault("refused", f"refused: {short(ended.err)}", where)


def _where(made: Made) -> str:
    first = made.how[0].partition(":")[0] if made.how else "untouched"
    return f"{made.suffix[1:]}: {first}{', then more' if len(made.how) > 1 else ''}"
