"""Comparisons: recipes x folds x seeds on one corpus and protocol, resumable run by run.

A run is identified by recipe hash, corpus fingerprint, protocol, fold, seed and precision. The same run is never done
twice; another one is never overwritten silently. Every evaluation on a test side is written to the ledger.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from pathlib import Path

from serlab.core import Exclusion, UserError
from serlab.core.files import write_json
from serlab.core.locks import locked
from serlab.core.progress import say
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.screening import MAX_SHARE, check_labels_at_sight, check_usable, screen
from serlab.experiments.jobs import check_jobs, spread
from serlab.experiments.run import Stores, identify, precision_of, run
from serlab.experiments.signature import Cell, read_signature, sign
from serlab.experiments.subset import limited, smoke_limit, smoke_recipe
from serlab.experiments.workspace import workspace_of
from serlab.leaks import audit
from serlab.leaks.findings import verdict
from serlab.model.card import model_card
from serlab.model.folder import save
from serlab.protocols import Fold, Split, default_protocol
from serlab.protocols.files import find_split
from serlab.recipes import Recipe, load_recipe
from serlab.report import build
from serlab.report.render import AUDIT, Audio
from serlab.tables import ledger
from serlab.tables.predictions import write_table
from serlab.training import processes

DEFAULT_RECIPES = ("wav2vec2-tiny", "resnet18-small", "mfcc-svm")
_SEEDS = 2**31
_MOST_NAMED = 20


@dataclass(frozen=True)
class Comparison:
    """What a comparison gives.

    Attributes:
        folder: ``<out>/<corpus>/<protocol>``.
        report: path of the report's page.
        models: the runs' model folders that were kept.
        exclusions: clips and other entries of the corpus that were left out.
        done, trained: runs that were there already, and runs made now.
    """

    folder: Path
    report: Path
    models: tuple[Path, ...]
    exclusions: tuple[Exclusion, ...]
    done: int
    trained: int


@processes.led
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
    cache: bool = True,
    jobs: int = 1,
    limit: int | None = None,
    smoke: bool = False,
) -> Comparison:
    """Train every recipe on every fold and seed that is not there yet, and write the report.

    Args:
        corpus: a known corpus's name, the path of a folder or table, or a loaded corpus.
        recipes: names of presets, paths of YAML files, or recipes.
        data: where the corpus lies.
        protocol: how to split: a protocol's name, or a CSV file with columns ``clip`` and ``side``; the corpus's
            default if None.
        folds: numbers of the folds to run; all if empty.
        seeds: the runs' seeds.
        out: results folder.
        dev_only: develop without ever predicting the test side.
        keep_models: keep each run's model folder.
        max_excluded: share of clips that may be left out before nothing is run.
        audio: how the report gives its clips: ``link``, ``embed`` or ``none``.
        cache: keep features on disk, so that another fold, seed or recipe finds them; the results are the same.
        jobs: how many runs to do at once, each in a process of its own on its share of the cores.
        limit: most clips per label and speaker; the results lie in ``<out>/<corpus>-limit<N>``.
        smoke: only try whether everything runs, on a few clips per label and speaker, for one epoch, on the first fold
            if none is named; the results lie in ``<out>/<corpus>-smoke``.

    Returns:
        Where the tables and the report are.

    Raises:
        UserError: a name does not exist, or another configuration's results are in the way.
        FindingsError: too many clips must be left out, or training diverged.
        MachineError: weights, disk or network fail, or the system has ended a run's process.

    Example:
        ``serlab.compare("crema-d", ["wav2vec2-tiny", "resnet18"], folds=[3]).report``
    """
    check_jobs(jobs)
    loaded = [recipe if isinstance(recipe, Recipe) else load_recipe(recipe) for recipe in recipes]
    if not loaded:
        raise UserError("name at least one recipe; serlab recipes lists them.")
    check_seeds(seeds)
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit} leaves no clip; it must be 1 or more.")
    identities = [(recipe, *identify(recipe)) for recipe in (map(smoke_recipe, loaded) if smoke else loaded)]
    found = corpus if isinstance(corpus, Corpus) else load_corpus(corpus, data=data)
    check_labels_at_sight(found)
    chosen = find_split(found, protocol or default_protocol(found))
    if smoke or limit is not None:
        found, chosen = limited(found, chosen, limit or smoke_limit(found), smoke=smoke)
    wanted = _chosen_folds(chosen, folds)
    grid = product(identities, wanted[:1] if smoke and not folds else wanted, seeds)
    cells = [Cell(*identity, found, chosen, fold, seed) for identity, fold, seed in grid]
    cells = list({(cell.folder, cell.stem): cell for cell in cells}.values())
    folder = Path(out) / found.name / chosen.name
    _check_folder(folder, found, chosen, {cell.folder: cell.identity["recipe"] for cell in cells})
    plans = [(cell, _plan(folder, cell, dev_only, keep_models)) for cell in cells]
    waiting = [(cell, plan) for cell, plan in plans if plan is not _Plan.NOTHING]
    exclusions = exclusions_of(found)
    if waiting:
        check_usable(found, exclusions, max_excluded)
    if len(waiting) < len(cells):
        say(f"{len(cells) - len(waiting)} of {len(cells)} runs are there already in {folder}.")
    if waiting or not (folder / AUDIT).is_file():
        _audit(found, chosen, folder)
    stores = Stores(cached=cache)
    calls = []
    for number, (cell, _) in enumerate(waiting, 1):
        title = f"[{number}/{len(waiting)}] {cell.recipe.name} fold {cell.fold.number} seed {cell.seed}"
        calls.append((title, (cell, exclusions, stores, folder, dev_only, keep_models, title)))
    if jobs == 1:
        for _, call in calls:
            _do_locked(*call)
    elif calls:
        for cell, _ in waiting:
            # Finds out whether bf16 is faster, which workers that keep each other busy could not.
            precision_of(cell.recipe)
        spread(_do_locked, calls, jobs)
    report = build(folder, clips=found.clips, audio=audio)
    models = (folder / cell.folder / cell.stem for cell in cells)
    kept = tuple(path for path in models if path.is_dir())
    return Comparison(folder, report, kept, (*exclusions, *found.excluded), len(cells) - len(waiting), len(waiting))


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse a seed that no generator takes."""
    for seed in seeds:
        if not 0 <= seed < _SEEDS:
            raise UserError(f"seed {seed} is not within 0 to {_SEEDS - 1}.")


def _chosen_folds(chosen: Split, numbers: Sequence[int]) -> list[Fold]:
    by_number = {fold.number: fold for fold in chosen.folds}
    wrong = [number for number in numbers if number not in by_number]
    if wrong:
        raise UserError(f"protocol {chosen.name} has no fold {wrong[0]}; it has 1 to {len(by_number)}.")
    return [by_number[number] for number in numbers] if numbers else list(chosen.folds)


def exclusions_of(corpus: Corpus) -> tuple[Exclusion, ...]:
    """Clips that cannot be used, as signatures name them."""
    # Signatures and reports travel: they name the file, not the disk it lay on.
    return tuple(replace(exclusion, path=Path(exclusion.path).name) for exclusion in screen(corpus))


def _audit(corpus: Corpus, chosen: Split, folder: Path) -> None:
    """Look for leaks, say what was found, and keep it for the report."""
    findings = [finding.data() for finding in audit(corpus, chosen)]
    said = verdict(findings)
    say(said)
    for finding in findings:
        for named in ("clips", "pairs"):
            finding[f"{named}_in_all"] = len(finding[named])
            finding[named] = finding[named][:_MOST_NAMED]
    write_json(folder / AUDIT, {"verdict": said, "fingerprint": corpus.fingerprint, "findings": findings})


def _check_folder(folder: Path, corpus: Corpus, chosen: Split, recipes: Mapping[str, str]) -> None:
    """Refuse a folder that holds results of other data, of other folds, or of other recipes, under the same name.

    No report could join them, and it is better to know before training.

    Args:
        folder: the protocol's.
        corpus: the corpus.
        chosen: the protocol applied to it.
        recipes: the hash of each recipe that is to be run, by its folder's name.
    """
    for path in sorted(folder.glob("*/fold*-seed*.json")):
        signature = read_signature(path)
        there, own = signature["corpus"]["fingerprint"], signature["identity"]["recipe"]
        if there != corpus.fingerprint:
            raise UserError(
                f"{path} is of other data that are called {corpus.name} too (fingerprint {there[:8]}, not "
                f"{corpus.fingerprint[:8]}); move it away, or choose another --out."
            )
        if (version := signature["identity"].get("protocol_version", "1")) != chosen.version:
            raise UserError(
                f"{path} was made with other folds of {chosen.name} (version {version}, not {chosen.version}: copies "
                "of recordings were shared out otherwise); move it away, or choose another --out."
            )
        if own != recipes.get(path.parent.name, own):
            raise UserError(_other_configuration(path, "recipe", own, recipes[path.parent.name]))


def _other_configuration(path: Path, key: str, there: object, wanted: object) -> str:
    return f"{path} is of another configuration ({key} {there}, not {wanted}); move it away, or choose another --out."


class _Plan(Enum):
    """What is left to do of a run."""

    NOTHING = "nothing"
    MODEL = "the model folder, from training anew; the table stands and the test side is not read again"
    DEV = "training and the dev side"
    TEST = "training, the dev side and the test side"


def _plan(folder: Path, cell: Cell, dev_only: bool, keep_model: bool) -> _Plan:
    path = folder / cell.folder / f"{cell.stem}.json"
    wanted = _Plan.DEV if dev_only else _Plan.TEST
    if not path.is_file():
        return wanted
    signature = read_signature(path)
    there = signature["identity"]
    # Who leaves the precision to the machine takes what another machine, or a busier one, has chosen.
    free = {"precision"} if cell.recipe.training.precision == "auto" else set()
    different = [key for key in cell.identity if key not in free and there.get(key) != cell.identity[key]]
    if different:
        key = different[0]
        raise UserError(_other_configuration(path, key, there.get(key), cell.identity[key]))
    if not path.with_suffix(".parquet").is_file() or ("test" not in signature["sides"] and not dev_only):
        return wanted
    return _Plan.MODEL if keep_model and not path.with_suffix("").is_dir() else _Plan.NOTHING


def _do_locked(
    cell: Cell,
    exclusions: Sequence[Exclusion],
    stores: Stores,
    folder: Path,
    dev_only: bool,
    keep_model: bool,
    title: str,
) -> None:
    with locked(folder / cell.folder / cell.stem):
        # Another process may have done it since.
        plan = _plan(folder, cell, dev_only, keep_model)
        if plan is not _Plan.NOTHING:
            _do(cell, plan, exclusions, stores, folder, keep_model, title)


def _do(
    cell: Cell,
    plan: _Plan,
    exclusions: Sequence[Exclusion],
    stores: Stores,
    folder: Path,
    keep_model: bool,
    title: str,
) -> None:
    target = folder / cell.folder / f"{cell.stem}.parquet"
    started = ledger.now()
    workspace = workspace_of(target.with_suffix(""), cell.identity)
    outcome = run(
        cell.recipe,
        cell.corpus,
        cell.fold,
        excluded=frozenset(exclusion.clip for exclusion in exclusions),
        seed=cell.seed,
        stores=stores,
        workspace=workspace,
        before_test=(lambda: ledger.enter(folder.parent.parent, cell.ledger_entry())) if plan is _Plan.TEST else None,
        title=title,
    )
    signature = sign(cell, outcome, exclusions, started)
    if keep_model:
        card = model_card(signature, needs_serlab=outcome.classifier.needs_serlab)
        save(outcome.classifier, target.with_suffix(""), signature, card)
    if plan is not _Plan.MODEL:
        # The table comes last: a run is there where it has one, for a report that is made meanwhile or after a kill.
        target.unlink(missing_ok=True)
        write_json(target.with_suffix(".json"), signature)
        write_table(target, outcome.table)
    shutil.rmtree(workspace, ignore_errors=True)
    say(f"{title}: done, training UAR {outcome.training['train_uar']:.3f}")
