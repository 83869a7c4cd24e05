"""``python -m publication.crossing_runs [--finished] OUT NAME=FOLDER ...``: the published cross-corpus runs.

Runs what is missing in OUT (resumable), with the corpora's folders, and copies to ``results/`` what the
corpora's licences allow: the report with the confusion counts by speaker, every run's signature, and
clip tables of CREMA-D alone. Runs within the targets, ``serlab compare NAME --out OUT``, are used if OUT
has them. With ``--finished``, nothing is run, and what is missing is left out. Afterwards, ``python -m
publication`` checks the figures and writes the tables of the documentation.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from serlab.checkpoints.weights import BOX
from serlab.core.files import write_json, write_text
from serlab.corpora.emotions import LabelMap, mapped
from serlab.corpora.screening import MAX_SHARE
from serlab.experiments.crossing import loaded
from serlab.experiments.crossing_job import FOLDER, How, Job
from serlab.experiments.crossing_models import load_given
from serlab.frontends.store import FeatureStores
from serlab.recipes import load_recipe
from serlab.tables import ledger
from serlab.tables.predictions import read_run, write_table

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "results"
SOURCES = ("crema-d", "emovo", "nemo", "ased")
TARGETS = ("crema-d", "tess", "emovo", "nemo", "ased")
RECIPES = ("mfcc-svm", "whisper-base-probe")
FINE_TUNED = HOME / "publication" / "whisper-base-top2.yaml"
OPEN = "crema-d"
"""The only corpus whose licence allows clip tables."""


def main(out: Path, data: dict[str, str], *, finished: bool = False) -> Path:
    """Run, report and publish; returns the published page."""
    labels = LabelMap()
    corpora = loaded(TARGETS, data)
    maps = {name: mapped(corpus, labels) for name, corpus in corpora.items()}
    how = How(balance=False, normalise=True, keep_models=False, jobs=1)
    job = Job(out, FeatureStores(), labels, maps, (0,), MAX_SHARE, how)
    everywhere = [((source,), TARGETS) for source in SOURCES]
    planned = job.plan(everywhere, [load_recipe(name) for name in RECIPES], [])
    planned += job.plan([((OPEN,), TARGETS)], [load_recipe(str(FINE_TUNED))], [])
    planned += job.plan([((), TARGETS)], [], [load_given(BOX, labels)])
    if finished:
        planned = [each for each in planned if each[0].reason or all(run.done for run in each[1])]
    page = job.finish(planned).report
    shutil.rmtree(RESULTS / FOLDER, ignore_errors=True)
    shutil.copytree(page.parent, RESULTS / FOLDER / page.parent.name)
    for cell, runs, _ in planned:
        within = (out / cell.target).glob(f"*/{cell.recipe}/fold*-seed*.parquet")
        for path in {*(run.files.table for run in runs), *within}:
            publish(path, out)
    enter(out)
    return RESULTS / FOLDER / page.parent.name / page.name


def publish(path: Path, out: Path) -> None:
    """Copy a run's signature and, of CREMA-D across corpora, the rows of its test subset."""
    run, target = read_run(path), RESULTS / path.relative_to(out)
    if target.is_file():
        return
    if run.path.relative_to(out).parts[0] != OPEN:
        write_json(target.with_suffix(".json"), run.signature)
    elif "crossing" in run.signature:
        # The dev rows are clips of the source.
        write_json(target.with_suffix(".json"), {**run.signature, "sides": ["test"]})
        write_table(target, run.table[run.table["side"] == "test"].reset_index(drop=True))


def enter(out: Path) -> None:
    """Add the lines of a ledger to that of the results, each once."""
    before = ledger.read(RESULTS)
    new = [line for line in ledger.read(out) if line not in before]
    write_text(RESULTS / "ledger.jsonl", "".join(f"{json.dumps(line)}\n" for line in [*before, *new]))


if __name__ == "__main__":
    options = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    home, *folders = [argument for argument in sys.argv[1:] if argument not in options]
    print(main(Path(home), dict(each.split("=", 1) for each in folders), finished=options == ["--finished"]))
