"""Execute a plan: train, predict, sign and write one run after another, so a killed comparison can resume."""

from __future__ import annotations

import shutil
from typing import Any

import pandas as pd

from serlab.core.files import write_json
from serlab.core.locks import locked
from serlab.core.progress import say
from serlab.corpora.screening import MAX_SHARE, check_usable
from serlab.evaluation.bootstrap import intervals
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.resampling import Resampling
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.jobs import spread
from serlab.experiments.plan import Plan, Todo, todo_of
from serlab.experiments.run import run
from serlab.experiments.signature import sign
from serlab.experiments.teachers import teach
from serlab.leaks import audit
from serlab.leaks.findings import verdict
from serlab.model.card import model_card
from serlab.model.folder import save
from serlab.recipes import precision_of, teacher_of
from serlab.tables import ledger
from serlab.tables.predictions import read_run, write_table

_MOST_NAMED = 20


def execute(plan: Plan, *, max_excluded: float = MAX_SHARE, jobs: int = 1) -> None:
    """Execute all missing runs of a plan.

    Args:
        plan: the plan.
        max_excluded: maximum share of clips that may be left out.
        jobs: number of parallel runs, each in its own process with its share of the cores.

    Raises:
        UserError: another process is executing one of the runs, or a subset of a fold is empty.
        FindingsError: too many clips must be left out, or training diverged.
        MachineError: disk or network fail, or the system ended a run's process.
    """
    context, waiting = plan.context, plan.waiting
    if waiting:
        check_usable(context.corpus, context.exclusions, max_excluded)
    if plan.done:
        say(f"{len(plan.done)} of {len(plan.runs)} runs are there already in {context.results.folder}.")
    if waiting or not context.results.audit.is_file():
        _audit(context)
    titles = [f"[{number}/{len(waiting)}] {spec.title}" for number, spec in enumerate(waiting, 1)]
    if jobs == 1:
        for spec, title in zip(waiting, titles, strict=True):
            _do_once(spec, context, title)
    elif waiting:
        for spec in waiting:
            # Measures whether bf16 is faster, which busy workers could not.
            for recipe in (spec.recipe, teacher_of(spec.recipe)):
                if recipe:
                    precision_of(recipe)
        spread(_do_once, [(title, (spec, context, title)) for spec, title in zip(waiting, titles, strict=True)], jobs)


def _audit(context: RunContext) -> None:
    """Run the leak audit, log its verdict, and keep the findings for the report."""
    findings = [finding.data() for finding in audit(context.corpus, context.split)]
    said = verdict(findings)
    say(said)
    for finding in findings:
        for named in ("clips", "pairs"):
            finding[f"{named}_in_all"] = len(finding[named])
            finding[named] = finding[named][:_MOST_NAMED]
    found = {"verdict": said, "fingerprint": context.corpus.fingerprint, "findings": findings}
    write_json(context.results.audit, found)


def _do_once(spec: RunSpec, context: RunContext, title: str) -> None:
    with locked(context.files(spec).model):
        # Another process may have executed it since the plan was made.
        todo = todo_of(spec, context)
        if todo is not Todo.NOTHING:
            _do(spec, todo, context, title)


def _do(spec: RunSpec, todo: Todo, context: RunContext, title: str) -> None:
    files, started = context.files(spec), ledger.now()
    taught = teach(spec, context, title)
    result = run(
        spec,
        context,
        workspace=files.open_workspace(context.identity(spec).data()),
        before_test=(lambda: ledger.enter(context.out, context.ledger_entry(spec))) if todo is Todo.TEST else None,
        title=title,
        taught=taught,
    )
    signature = sign(spec, context, result, started).data()
    if context.keep_models:
        card = model_card(signature, needs_serlab=result.fitted.needs_serlab)
        table = read_run(files.table).table if todo is Todo.MODEL else result.table
        tested = _tested(table, context)
        save(result.fitted, files.model, signature, card, inputs=result.inputs, speech=result.speech, tested=tested)
    if todo is not Todo.MODEL:
        # The table is written last, because it marks a run as complete.
        files.table.unlink(missing_ok=True)
        write_json(files.signature, signature)
        write_table(files.table, result.table)
    shutil.rmtree(files.workspace, ignore_errors=True)
    say(f"{title}: done, training UAR {result.training.train_uar:.3f}")


def _tested(table: pd.DataFrame, context: RunContext) -> dict[str, Any] | None:
    """UAR on the test subset with its interval, for the model folder; None if it was not predicted."""
    rows, corpus, split = table[table["side"] == "test"], context.corpus, context.split
    if rows.empty:
        return None
    counts = count_by_speaker(rows, corpus.labels)
    score = intervals(counts, resampling=Resampling(known=corpus.speakers_known))["uar"]
    return {
        "uar": score.value,
        "low": score.low,
        "high": score.high,
        "clips": len(rows),
        "speakers": len(counts.speakers) if corpus.speakers_known else None,
        "protocol": split.name,
        "speaker_disjoint": split.speaker_disjoint,
    }
