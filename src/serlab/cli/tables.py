"""``serlab evaluate`` and ``serlab report``: judging tables, whoever made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from serlab.cli import options


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(evaluate)
    app.command()(report)


def evaluate(
    table: Annotated[
        Path, typer.Argument(help="CSV or Parquet with `clip` and `logit_<label>` or `prob_<label>` columns.")
    ],
    corpus: Annotated[
        str | None, typer.Option(help="Corpus that knows the clips' speakers and labels, where the table does not.")
    ] = None,
    data: options.Data = None,
    side: Annotated[str, typer.Option(help="Rows to judge where the table has a column `side`.")] = "test",
    form: Annotated[str, typer.Option("--format", help="`table` or `json`.")] = "table",
) -> None:
    """Judge a table of predictions that any model made: UAR, WA, macro-F1 with intervals over speakers.

    Examples:
        serlab evaluate predictions.csv --corpus crema-d

        serlab evaluate runs/synthetic/speaker-3/mfcc-svm/fold1-seed0.parquet --format json
    """
    options.check_choice(form, ("table", "json"), "--format")
    from serlab.evaluation.judge import evaluate as judge
    from serlab.evaluation.judge import evaluation_lines

    result = judge(table, options.load(corpus, data) if corpus else None, side=side)
    print(json.dumps(result, indent=1) if form == "json" else "\n".join(evaluation_lines(result)))
    if result["exclusions"]:
        raise typer.Exit(1)


def report(
    folder: Annotated[Path, typer.Argument(help="`<out>/<corpus>/<protocol>`, the folder that holds the recipes.")],
    data: options.Data = None,
    audio: Annotated[str, typer.Option(help="The report's clips: `link`, `embed` or `none`.")] = "link",
) -> None:
    """Write the report of all runs in a folder again; prints its path.

    Example:
        serlab report results/crema-d/emo-superb-5
    """
    options.check_choice(audio, ("link", "embed", "none"), "--audio")
    from serlab.core import SerlabError
    from serlab.corpora import corpus_names
    from serlab.report import build

    paths: dict[str, str] = {}
    name = folder.resolve().parent.name
    if audio != "none" and name in corpus_names():
        try:
            clips = options.load(name, data).clips
            paths = dict(zip(clips["clip"], clips["path"], strict=True))
        except SerlabError:
            # A report of published tables does not need the audio.
            paths = {}
    print(build(folder, clip_paths=paths, audio=cast("Literal['link', 'embed', 'none']", audio)))
