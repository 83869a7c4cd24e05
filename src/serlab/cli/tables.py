"""``serlab evaluate`` and ``serlab report``: judging tables, whoever made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from serlab.cli import options
from serlab.core import SerlabError, UserError


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
    folder: Annotated[
        Path, typer.Argument(help="`<out>/<corpus>/<protocol>`, or `<out>/<corpus>` for all its protocols.")
    ],
    data: options.Data = None,
    audio: Annotated[str, typer.Option(help="The report's clips: `link`, `embed` or `none`.")] = "link",
    fuse: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipes whose log-probabilities are averaged, as `resnet18+whisper-base`; of a whole corpus."
        ),
    ] = None,
) -> None:
    """Write the report of all runs in a folder again; prints its path.

    Of a corpus's folder: the reports of all its protocols and an overview, with fusions and what leaks were worth.

    Examples:
        serlab report results/crema-d/emo-superb-5

        serlab report results/crema-d --fuse resnet18+whisper-base
    """
    options.check_choice(audio, ("link", "embed", "none"), "--audio")
    from serlab.report import build, build_overview

    whole = not any(folder.glob("*/fold*.parquet")) and any(folder.glob("*/*/fold*.parquet"))
    if fuse and not whole:
        raise UserError(f"--fuse needs the folder of a corpus, which holds its protocols' folders, not {folder}.")
    paths = _clip_paths(folder.resolve().name if whole else folder.resolve().parent.name, data, audio)
    sound = cast("Literal['link', 'embed', 'none']", audio)
    if whole:
        fusions = [tuple(part.strip() for part in fusion.split("+")) for fusion in fuse or ()]
        print(build_overview(folder, fusions=fusions, clip_paths=paths, audio=sound))
    else:
        print(build(folder, clip_paths=paths, audio=sound))


def _clip_paths(name: str, data: Path | None, audio: str) -> dict[str, str]:
    """Each clip's file where the corpus is at hand; a report of published tables does not need the audio."""
    from serlab.corpora import corpus_names

    if audio == "none" or name not in corpus_names():
        return {}
    try:
        clips = options.load(name, data).clips
    except SerlabError:
        return {}
    return dict(zip(clips["clip"], clips["path"], strict=True))
