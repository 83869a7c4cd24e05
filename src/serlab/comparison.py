"""Comparisons: recipes x folds x seeds on one corpus and protocol, resumable run by run.

A run is identified by recipe hash, corpus fingerprint, protocol, fold, seed and precision. The same run is never done
twice; another one is never overwritten silently. Every evaluation on a test side is written to the ledger.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import serlab
from serlab.core import Exclusion, MachineError, UserError
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.screening import MAX_SHARE, check_share, screen
from serlab.files import write_json
from serlab.models.card import model_card
from serlab.models.folder import save
from serlab.progress import say
from serlab.protocols import Fold, Split, default_protocol, split
from serlab.recipes import Recipe, load_recipe
from serlab.report import build
from serlab.report.render import Audio
from serlab.tables import write_table
from serlab.training.run import Outcome, Stores, machine, precision_of, run, versions, weights_sha256

DEFAULT_RECIPES = ("wav2vec2-tiny", "resnet18-small", "mfcc-svm")


@dataclass(frozen=True)
class Comparison:
    """What a comparison gives.

    Attributes:
        folder: ``<out>/<corpus>/<protocol>``.
        report: path of the report's page.
        models: the runs' model folders that were kept.
        exclusions: clips that were left out.
        done, trained: runs that were there already, and runs made now.
    """

    folder: Path
    report: Path
    models: tuple[Path, ...]
    exclusions: tuple[Exclusion, ...]
    done: int
    trained: int


@dataclass(frozen=True)
class _Run:
    """One cell of the comparison."""

    recipe: Recipe
    hash: str
    weights: str | None
    fold: Fold
    seed: int

    @property
    def stem(self) -> str:
        return f"fold{self.fold.number}-seed{self.seed}"


def compare(
    corpus: str | Corpus,
    recipes: Sequence[str | Recipe] = DEFAULT_RECIPES,
    *,
    data: Path | str | None = None,
    protocol: str | None = None,
    folds: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
    out: Path | str = "runs",
    dev_only: bool = False,
    keep_models: bool = False,
    max_excluded: float = MAX_SHARE,
    audio: Audio = "link",
) -> Comparison:
    """Train every recipe on every fold and seed that is not there yet, and write the report.

    Args:
        corpus: a known corpus's name, the path of a folder or table, or a loaded corpus.
        recipes: names of presets, paths of YAML files, or recipes.
        data: where the corpus lies.
        protocol: how to split; the corpus's default if None.
        folds: numbers of the folds to run; all if empty.
        seeds: the runs' seeds.
        out: results folder.
        dev_only: develop without ever predicting the test side.
        keep_models: keep each run's model folder.
        max_excluded: share of clips that may be left out before nothing is run.
        audio: how the report gives its clips: ``link``, ``embed`` or ``none``.

    Returns:
        Where the tables and the report are.

    Raises:
        UserError: a name does not exist, or another configuration's results are in the way.
        FindingsError: too many clips must be left out, or training diverged.
        MachineError: weights, disk or network fail.

    Example:
        ``serlab.compare("crema-d", ["wav2vec2-tiny", "resnet18"], folds=[3]).report``
    """
    loaded = [recipe if isinstance(recipe, Recipe) else load_recipe(recipe) for recipe in recipes]
    if not loaded:
        raise UserError("name at least one recipe; serlab recipes lists them.")
    hashes = [(recipe, weights_sha256(recipe)) for recipe in loaded]
    found = corpus if isinstance(corpus, Corpus) else load_corpus(corpus, data=Path(data) if data else None)
    chosen = split(found, protocol or default_protocol(found))
    cells = [
        _Run(recipe, recipe.hash(weights), weights, fold, seed)
        for recipe, weights in hashes
        for fold in _chosen_folds(chosen, folds)
        for seed in seeds
    ]
    folder = Path(out) / found.name / chosen.name
    sides = ["dev"] if dev_only else ["dev", "test"]
    waiting = [cell for cell in cells if not _is_done(folder, cell, found, chosen, sides, keep_models)]
    exclusions = _exclusions(found, folder, waiting, max_excluded)
    if len(waiting) < len(cells):
        say(f"{len(cells) - len(waiting)} of {len(cells)} runs are there already in {folder}.")
    stores = Stores()
    for number, cell in enumerate(waiting, 1):
        title = f"[{number}/{len(waiting)}] {cell.recipe.name} fold {cell.fold.number} seed {cell.seed}"
        with _locked(folder / cell.recipe.folder(cell.hash), cell):
            _do(cell, found, chosen, exclusions, stores, folder, dev_only, keep_models, title)
    report = build(folder, clip_paths=dict(zip(found.clips["clip"], found.clips["path"], strict=True)), audio=audio)
    models = (folder / cell.recipe.folder(cell.hash) / cell.stem for cell in cells)
    kept = tuple(path for path in models if path.is_dir())
    return Comparison(folder, report, kept, exclusions, len(cells) - len(waiting), len(waiting))


def _chosen_folds(chosen: Split, numbers: Sequence[int]) -> list[Fold]:
    by_number = {fold.number: fold for fold in chosen.folds}
    wrong = [number for number in numbers if number not in by_number]
    if wrong:
        raise UserError(f"protocol {chosen.name} has no fold {wrong[0]}; it has 1 to {len(by_number)}.")
    return [by_number[number] for number in numbers] if numbers else list(chosen.folds)


def _exclusions(corpus: Corpus, folder: Path, waiting: Sequence[_Run], limit: float) -> tuple[Exclusion, ...]:
    """Screen the corpus, once: a finished screening of the same corpus is remembered beside the results."""
    path = folder.parent / "screening.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["fingerprint"] == corpus.fingerprint:
            exclusions = tuple(Exclusion(**entry) for entry in known["exclusions"])
        else:
            raise KeyError("fingerprint")
    except (OSError, ValueError, KeyError, TypeError):
        exclusions = tuple(screen(corpus))
        entries = [vars(exclusion) for exclusion in exclusions]
        write_json(path, {"fingerprint": corpus.fingerprint, "exclusions": entries})
    if waiting:
        check_share(exclusions, len(corpus.clips), limit)
    return exclusions


def _identity(cell: _Run, corpus: Corpus, chosen: Split) -> dict[str, Any]:
    return {
        "recipe": cell.hash,
        "corpus": corpus.fingerprint,
        "protocol": chosen.name,
        "fold": cell.fold.number,
        "seed": cell.seed,
        "precision": precision_of(cell.recipe),
    }


def _is_done(folder: Path, cell: _Run, corpus: Corpus, chosen: Split, sides: Sequence[str], with_model: bool) -> bool:
    path = folder / cell.recipe.folder(cell.hash) / f"{cell.stem}.json"
    if not path.is_file():
        return False
    try:
        signature: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        there = signature["identity"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no signature of a run: {error}; move it away, or choose another --out.") from error
    wanted = _identity(cell, corpus, chosen)
    different = [key for key in wanted if there.get(key) != wanted[key]]
    if different:
        key = different[0]
        raise UserError(
            f"{path} is of another configuration ({key} {there.get(key)}, not {wanted[key]}); "
            "move it away, or choose another --out."
        )
    there_too = path.with_suffix("").is_dir() or not with_model
    return set(sides) <= set(signature["sides"]) and path.with_suffix(".parquet").is_file() and there_too


def _do(
    cell: _Run,
    corpus: Corpus,
    chosen: Split,
    exclusions: Sequence[Exclusion],
    stores: Stores,
    folder: Path,
    dev_only: bool,
    keep_model: bool,
    title: str,
) -> None:
    target = folder / cell.recipe.folder(cell.hash) / f"{cell.stem}.parquet"
    started = _now()
    workspace = _workspace(target, _identity(cell, corpus, chosen))
    outcome = run(
        cell.recipe,
        corpus,
        cell.fold,
        excluded=frozenset(exclusion.clip for exclusion in exclusions),
        seed=cell.seed,
        stores=stores,
        workspace=workspace,
        before_test=None if dev_only else lambda: _enter(folder.parent.parent, cell, corpus, chosen),
        title=title,
    )
    signature = _signature(cell, corpus, chosen, exclusions, outcome, started)
    if keep_model:
        card = model_card(signature, needs_serlab=outcome.classifier.needs_serlab)
        save(outcome.classifier, target.with_suffix(""), cell.recipe, signature, card)
    write_table(target, outcome.table)
    write_json(target.with_suffix(".json"), signature)
    shutil.rmtree(workspace, ignore_errors=True)
    say(f"{title}: done, training UAR {outcome.training['train_uar']:.3f}")


def _workspace(target: Path, identity: Mapping[str, Any]) -> Path:
    """The run's private folder for checkpoints; one of another configuration is cleared."""
    folder = target.with_name(f".{target.stem}.work")
    mark = folder / "identity.json"
    try:
        if json.loads(mark.read_text(encoding="utf-8")) != identity:
            shutil.rmtree(folder)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
    if mark.is_file():
        say(f"{target.parent.name} {target.stem}: going on where an interrupted run stopped.")
    else:
        write_json(mark, dict(identity))
    return folder


def _enter(out: Path, cell: _Run, corpus: Corpus, chosen: Split) -> None:
    """Append to the ledger that this configuration reads a test side."""
    entry = {
        "time": _now(),
        "corpus": corpus.name,
        "fingerprint": corpus.fingerprint,
        "protocol": chosen.name,
        "recipe": cell.recipe.folder(cell.hash),
        "hash": cell.hash,
        "fold": cell.fold.number,
        "seed": cell.seed,
        "precision": precision_of(cell.recipe),
        "side": "test",
    }
    with (out / "ledger.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _signature(
    cell: _Run,
    corpus: Corpus,
    chosen: Split,
    exclusions: Sequence[Exclusion],
    outcome: Outcome,
    started: str,
) -> dict[str, Any]:
    sides = {"train": cell.fold.train, "dev": cell.fold.dev, "test": cell.fold.test}
    side_of = {clip: name for name, clips in sides.items() for clip in clips}
    return {
        "serlab": serlab.__version__,
        "identity": _identity(cell, corpus, chosen),
        "recipe": {
            "name": cell.recipe.folder(cell.hash),
            "title": cell.recipe.title,
            "hash": cell.hash,
            "pretrained": getattr(cell.recipe.model, "checkpoint", "").rsplit("/", 1)[-1] or None,
            "config": cell.recipe.settings(),
        },
        "weights_sha256": cell.weights,
        "corpus": {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "copy": corpus.copy,
            "clips": len(corpus.clips),
            "labels": list(corpus.labels),
            "synthetic": corpus.synthetic,
            "speakers_known": corpus.speakers_known,
            "label_track": "intended",
            "licence": corpus.licence,
            "citation": corpus.citation,
        },
        "protocol": {
            "name": chosen.name,
            "definition": chosen.definition,
            "speaker_disjoint": chosen.speaker_disjoint,
            "sentence_disjoint": chosen.sentence_disjoint,
            "folds": len(chosen.folds),
        },
        "fold": cell.fold.number,
        "seed": cell.seed,
        "precision": precision_of(cell.recipe),
        "sides": sorted(outcome.table["side"].unique()),
        "training": outcome.training,
        "cost": outcome.cost,
        "exclusions": [
            {**vars(entry), "path": Path(entry.path).name, "fold": cell.fold.number, "side": side_of[entry.clip]}
            for entry in exclusions
            if entry.clip in side_of
        ],
        "versions": versions(),
        "machine": machine(),
        "started": started,
        "finished": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _locked(folder: Path, cell: _Run) -> Iterator[None]:
    """Keep a second process from doing the same run; the system drops the lock when a process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / f".{cell.stem}.lock").open("w")
    except OSError as error:
        raise MachineError(f"cannot write to {folder}: {error.strerror}; choose another --out.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is doing {folder.name} {cell.stem} right now; wait for it.") from None
        yield
    Path(stream.name).unlink(missing_ok=True)
