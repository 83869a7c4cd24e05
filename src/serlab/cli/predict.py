"""``serlab predict``."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import command, options, output
from serlab.core import UserError
from serlab.core.precision import PRECISIONS
from serlab.core.progress import say, shown

if TYPE_CHECKING:
    from serlab.audio import Found
    from serlab.inference.files import Predictions
    from serlab.model.model import Model

FORMATS = ("table", "json", "jsonl", "csv")
_WIDE = 100_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, predict)


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of ``serlab predict``."""

    paths: Annotated[list[Path], typer.Argument(help="Audio files and folders.", show_default=False)]
    model: Annotated[
        Path, typer.Option(help="Model folder: serlab's, or a transformers audio-classification checkpoint.")
    ]
    form: Annotated[str | None, typer.Option("--format", help="`table` (the default), `json`, `jsonl` or `csv`.")] = (
        None
    )
    out: Annotated[
        Path | None, typer.Option(help="Write to this .csv or .jsonl file; if it exists, add what is missing.")
    ] = None
    precision: Annotated[
        str, typer.Option(help=f"One of {', '.join(PRECISIONS)}; auto is bf16 if that is faster, else fp32.")
    ] = "auto"
    abstain: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Answer `can't tell` if the model would be wrong more often than this, according to its dev subset.",
        ),
    ] = None

    def load(self) -> tuple[Found, Model]:
        """Find the files and load the model."""
        from serlab.audio import find_audio
        from serlab.model.model import load_model

        found, model = find_audio(self.paths), load_model(self.model, precision=self.precision)
        model.check_abstain(self.abstain)
        return found, model


def predict(args: PredictOptions) -> None:
    """Predict the emotion in audio files; files that cannot be read are listed, and the exit code is then 1.

    Examples:
        serlab predict --model runs/synthetic/speaker-3/resnet18/fold1-seed0 recording.wav

        serlab predict --model MODEL recordings/ --format csv > predictions.csv

        serlab predict --model MODEL recordings/ --out predictions.csv

        serlab predict --model MODEL recordings/ --abstain 0.1
    """
    options.check_choice(args.form, FORMATS, "--format")
    if args.out is not None:
        left_out = _to_file(args, args.out)
    elif args.form in ("csv", "jsonl"):
        left_out = _as_they_come(args, args.form)
    else:
        left_out = _at_the_end(args)
    if left_out:
        raise typer.Exit(1)


def _to_file(args: PredictOptions, out: Path) -> int:
    from serlab.inference.files import stream
    from serlab.inference.table import ENDINGS, opened

    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {out} must end in {' or '.join(ENDINGS)}.")
    if args.form not in (None, out.suffix.lower()[1:]):
        raise UserError(f"--format {args.form} contradicts the ending of --out {out}; omit one of them.")
    found, model = args.load()
    files = found.files
    with opened(out, model, args.abstain) as file:
        rest = file.left(files)
        file.add([entry for entry in found.excluded if entry.path not in file.excluded])
        done = len(files) - len(rest)
        if done:
            say(f"{out}: {done:,} of {len(files):,} files are done already.")
        with closing(stream(model, rest, done=done, abstain=args.abstain)) as chunks:
            for chunk in chunks:
                file.add(chunk)
        left_out = sum(name in file.excluded for name in files) + len(found.excluded)
    if left_out:
        say(f"left out: {left_out:,} of {len(files) + len(found.excluded):,} files; {file.excluded_path} says why.")
    output.path(out)
    return left_out


def _as_they_come(args: PredictOptions, form: str) -> int:
    from serlab.core import Exclusion
    from serlab.inference.files import stream
    from serlab.inference.table import as_csv, lines
    from serlab.model.prediction import Prediction, column_names

    found, model = args.load()
    if form == "csv":
        sys.stdout.write(as_csv([column_names(model.labels)]))
    options.say_left_out(found.excluded)
    left_out = len(found.excluded)
    with closing(stream(model, found.files, abstain=args.abstain)) as chunks:
        for chunk in chunks:
            sys.stdout.write(lines((result for result in chunk if isinstance(result, Prediction)), form))
            sys.stdout.flush()
            excluded = [result for result in chunk if isinstance(result, Exclusion)]
            options.say_left_out(excluded)
            left_out += len(excluded)
    return left_out


def _at_the_end(args: PredictOptions) -> int:
    from serlab.inference.files import predict as run

    result = run(args.model, args.paths, precision=args.precision, abstain=args.abstain)
    if args.form == "json":
        predictions = [row.data() for row in result.predictions]
        excluded = options.as_json(result.excluded)
        print(json.dumps({"model": result.model, "predictions": predictions, "excluded": excluded}, indent=1))
    else:
        _print_table(result)
        options.say_left_out(result.excluded)
    return len(result.excluded)


def _print_table(result: Predictions) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    if not result.predictions:
        return
    # Text, not markup: a file may be called "[red].wav".
    labels = (Column(Text(shown(label))) for label in result.predictions[0].probabilities)
    table = Table(Column("file", overflow="fold"), "emotion", *labels, box=None)
    for row in result.predictions:
        shares = (f"{share:.2f}" for share in row.probabilities.values())
        table.add_row(Text(shown(row.path or "")), Text(shown(row.label or "can't tell")), *shares)
    # A terminal folds long rows; a file or pipe gets each row on one line.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
