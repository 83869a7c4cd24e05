"""``serlab predict``."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import options
from serlab.progress import say

if TYPE_CHECKING:
    from serlab.prediction import Predictions

FORMATS = ("table", "json", "jsonl", "csv")
_WIDE = 100_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(predict)


def predict(
    paths: Annotated[list[Path], typer.Argument(help="Audio files and folders.", show_default=False)],
    model: Annotated[
        Path, typer.Option(help="Model folder: serlab's, or a transformers audio-classification checkpoint.")
    ],
    form: Annotated[str, typer.Option("--format", help="`table`, `json`, `jsonl` or `csv`.")] = "table",
    precision: Annotated[
        str, typer.Option(help="`auto` (bf16 where the processor has it), `fp32` or `bf16`.")
    ] = "auto",
) -> None:
    """Predict the emotion in audio files; files that cannot be read are listed, and the exit code is then 1.

    Examples:
        serlab predict --model runs/synthetic/speaker-3/resnet18/fold1-seed0 recording.wav

        serlab predict --model MODEL recordings/ --format csv > predictions.csv
    """
    options.check_choice(form, FORMATS, "--format")
    options.check_choice(precision, options.PRECISIONS, "--precision")
    from serlab.prediction import predict as run

    result = run(model, paths, precision=precision)
    _print(result, form)
    if form != "json":
        for exclusion in result.excluded:
            say(f"left out: {exclusion.path} ({exclusion.reason})")
    if result.excluded:
        raise typer.Exit(1)


def _print(result: Predictions, form: str) -> None:
    rows = [vars(row) for row in result.predictions]
    if form == "json":
        excluded = [{"path": entry.path, "reason": entry.reason} for entry in result.excluded]
        print(json.dumps({"model": result.model, "predictions": rows, "excluded": excluded}, indent=1))
    elif form == "jsonl":
        for row in rows:
            print(json.dumps(row))
    elif form == "csv":
        names = list(rows[0]["probabilities"]) if rows else []
        writer = csv.writer(sys.stdout)
        writer.writerow(["path", "predicted", *(f"prob_{name}" for name in names)])
        writer.writerows([row["path"], row["label"], *row["probabilities"].values()] for row in rows)
    else:
        _print_table(result)


def _print_table(result: Predictions) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    if not result.predictions:
        return
    table = Table(Column("file", overflow="fold"), "emotion", *result.predictions[0].probabilities, box=None)
    for row in result.predictions:
        # Text and not markup: a file may be called "[red].wav".
        table.add_row(Text(row.path), Text(row.label), *(f"{share:.2f}" for share in row.probabilities.values()))
    # A terminal folds what is too long for it; a file or a pipe gets each row whole.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
