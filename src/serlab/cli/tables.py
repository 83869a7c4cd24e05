"""``serlab evaluate`` and ``serlab report``: evaluate prediction tables of any model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from serlab.cli import command, options, output
from serlab.core import SerlabError, UserError

if TYPE_CHECKING:
    import pandas as pd

    from serlab.corpora.base import Corpus


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command.add(app, evaluate)
    app.command()(report)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(options.ColumnOptions):
    """Options of ``serlab evaluate``."""

    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLE",
            help="CSV, JSON lines or Parquet with `clip` and `logit_<label>`, `prob_<label>` or `predicted` columns; "
            "what `serlab predict` writes is such a table.",
        ),
    ]
    corpus: Annotated[
        str | None, typer.Option(help="Corpus that has the clips' speakers and labels, if the table does not.")
    ] = None
    data: options.Data = None
    side: Annotated[str, typer.Option(help="Rows to evaluate if the table has a column `side`.")] = "test"
    margin: options.Margin = 2
    form: options.Format = "table"
    segments: Annotated[
        Path | None,
        typer.Option(
            metavar="REFERENCE",
            help="The table has segments; evaluate them by this CSV (`file`, `start`, `end`, `label`) or TextGrid.",
        ),
    ] = None
    to: Annotated[
        Path | None, typer.Option("--report", help="Folder to write a report with figures into.", file_okay=False)
    ] = None
    latex: options.Latex = False

    def load(self) -> tuple[Corpus | None, set[str]]:
        """Load the corpus, if one is given, and tell which of the named columns its table has."""
        from serlab.corpora import Columns, descriptions, is_description
        from serlab.tables.naming import column
        from serlab.tables.reading import columns_of

        if not self.corpus:
            return None, set()
        path = Path(self.corpus)
        table = self.corpus not in descriptions() and path.is_file() and not is_description(path)
        there = columns_of(path) if table and self.named else []
        own = {key: name for key, name in self.named.items() if column(there, (name,), self.corpus, quiet=True)}
        return options.load(self.corpus, self.data, Columns(**own) if own else None), set(own)


def evaluate(args: EvaluateOptions) -> None:
    """Evaluate prediction tables of any model: UAR, WA, macro-F1 with intervals over speakers.

    Several tables are also compared in pairs, on the clips that both have. Clips may be named by id, path, or the
    end of a path; columns `clip`, `path`, `file` or `filename`, `label` or `emotion`, `speaker` or `actor` are found
    whatever their case, and the `--…-column` options name others, of the tables and of the corpus's own table.

    Examples:
        serlab evaluate predictions.csv --corpus crema-d

        serlab evaluate predictions.jsonl --corpus my-clips.csv --label-column emo

        serlab evaluate mine.csv theirs.csv --corpus crema-d --report judged

        serlab evaluate runs/synthetic/speaker-3/mfcc-svm/fold1-seed0.parquet --format json

        serlab evaluate calls.csv --segments reference.csv
    """
    options.check_choice(args.form, options.FORMATS, "--format")
    if args.latex and args.to is None:
        raise UserError("--latex writes into a report's folder; name one with --report FOLDER.")
    if args.segments is not None:
        _evaluate_segments(args, args.segments)
        return
    from serlab.evaluation.judge import evaluate_all
    from serlab.evaluation.lines import evaluation_lines, pair_lines
    from serlab.evaluation.prepare import prepare_all
    from serlab.report import build_foreign
    from serlab.report.foreign import judged_as

    (clips, elsewhere), tables, side = args.load(), args.tables, args.side
    prepared = prepare_all(tables, clips, None, side, args.named, elsewhere)
    margin = args.margin / 100
    results, pairs = evaluate_all(prepared, clips, side=side, margin=margin)
    page = None
    if args.to:
        judged = judged_as(prepared, results, pairs)
        page = build_foreign(prepared, args.to, clips, side=side, margin=margin, latex=args.latex, judged=judged)
    # Entries of the corpus that are not clips were already listed when it was loaded.
    left_out = {"excluded": options.as_json(clips.excluded)} if clips and clips.excluded else {}
    if args.form == "json":
        each = {name: result.to_dict() for name, result in results.items()}
        several = {"tables": each, "pairs": [pair.to_dict() for pair in pairs]}
        found = several if len(tables) > 1 else each[prepared[0].name]
        print(json.dumps(found | ({"report": str(page)} if page else {}) | left_out, indent=1))
    else:
        blocks = [([name] if len(tables) > 1 else []) + evaluation_lines(result) for name, result in results.items()]
        blocks += [*map(pair_lines, pairs), *([[f"report: {page}"]] if page else [])]
        output.lines(line for number, block in enumerate(blocks) for line in ([""] if number else []) + block)
    if left_out or any(result.exclusions for result in results.values()):
        raise typer.Exit(1)


def _evaluate_segments(args: EvaluateOptions, reference: Path) -> None:
    from serlab.evaluation.diarization import evaluate_spans
    from serlab.evaluation.lines import diarization_lines
    from serlab.evaluation.spans import read_predicted, read_reference

    if len(args.tables) > 1 or args.corpus or args.to:
        raise UserError("--segments takes one table, without --corpus and --report.")
    found = evaluate_spans(read_reference(reference), read_predicted(args.tables[0]))
    if args.form == "json":
        print(json.dumps(found.to_dict(), indent=1))
    else:
        output.lines(diarization_lines(found))
        options.say_left_out(found.exclusions)
    if found.exclusions:
        raise typer.Exit(1)


def report(
    folder: Annotated[
        Path, typer.Argument(help="`<out>/<corpus>/<protocol>`, or `<out>/<corpus>` for all its protocols.")
    ],
    data: options.Data = None,
    recipes: Annotated[
        str, typer.Option(help="Recipes to show: names of their folders, separated by commas. [default: all]")
    ] = "",
    audio: options.ReportAudio = "link",
    margin: options.Margin = 2,
    fuse: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipes whose log-probabilities are averaged, e.g. `resnet18+whisper-base`; needs a corpus's folder. "
            "With `@dev` at the end, weights are fitted on each fold's dev subset."
        ),
    ] = None,
    latex: options.Latex = False,
) -> None:
    """Write the report of all runs in a folder again; prints its path.

    For a corpus's folder: the reports of all protocols and an overview, with fusions and the effect of leaks.

    Examples:
        serlab report results/crema-d/emo-superb-5

        serlab report results/crema-d/emo-superb-5 --recipes resnet18,whisper-base

        serlab report results/crema-d/emo-superb-5 --latex

        serlab report results/crema-d --fuse resnet18+whisper-base --fuse resnet18+whisper-base@dev
    """
    options.check_choice(audio, options.AUDIO, "--audio")
    from serlab.report import build, build_overview

    whole = not any(folder.glob("*/fold*.parquet")) and any(folder.glob("*/*/fold*.parquet"))
    if fuse and not whole:
        raise UserError(f"--fuse needs the folder of a corpus, which contains those of its protocols, not {folder}.")
    clips = _clips(folder.resolve().name if whole else folder.resolve().parent.name, data)
    shown = [part.strip() for part in recipes.split(",") if part.strip()]
    sound = cast("Literal['link', 'embed', 'none']", audio)
    if whole:
        page = build_overview(
            folder, recipes=shown, fusions=fuse or (), clips=clips, audio=sound, margin=margin / 100, latex=latex
        )
    else:
        page = build(folder, recipes=shown, clips=clips, audio=sound, margin=margin / 100, latex=latex)
    output.path(page)


def _clips(name: str, data: list[str] | None) -> pd.DataFrame | None:
    """The corpus's table if the corpus is available; a report of published tables does not need it."""
    from serlab.corpora import descriptions

    if name not in descriptions():
        return None
    try:
        return options.load(name, data).clips
    except SerlabError:
        return None
