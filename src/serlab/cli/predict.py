"""``serlab predict``."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import options, output
from serlab.core import UserError
from serlab.core.precision import PRECISIONS
from serlab.core.progress import say, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serlab.audio import Found
    from serlab.inference.files import Predictions
    from serlab.model.model import Model

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
    form: Annotated[
        str | None, typer.Option("--format", help="`table` (the default), `json`, `jsonl` or `csv`.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to this .csv or .jsonl file; if it is there, go on with what it lacks.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help=f"One of {', '.join(PRECISIONS)}; auto is bf16 where that is faster, else fp32.")
    ] = "auto",
    abstain: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Say that it can't tell where the model would be wrong more often than this, going by its dev side.",
        ),
    ] = None,
) -> None:
    """Predict the emotion in audio files; files that cannot be read are listed, and the exit code is then 1.

    Examples:
        serlab predict --model runs/synthetic/speaker-3/resnet18/fold1-seed0 recording.wav

        serlab predict --model MODEL recordings/ --format csv > predictions.csv

        serlab predict --model MODEL recordings/ --out predictions.csv

        serlab predict --model MODEL recordings/ --abstain 0.1
    """
    options.check_choice(form, FORMATS, "--format")
    if out is not None:
        left_out = _to_file(model, paths, precision, abstain, out, form)
    elif form in ("csv", "jsonl"):
        left_out = _as_they_come(model, paths, precision, abstain, form)
    else:
        left_out = _at_the_end(model, paths, precision, abstain, form)
    if left_out:
        raise typer.Exit(1)


def _loaded(model: Path, paths: Sequence[Path], precision: str) -> tuple[Found, Model]:
    from serlab.audio import find_audio
    from serlab.model.model import load_model

    return find_audio(paths), load_model(model, precision=precision)


def _to_file(
    model: Path, paths: Sequence[Path], precision: str, abstain: float | None, out: Path, form: str | None
) -> int:
    from serlab.inference.files import stream
    from serlab.inference.table import ENDINGS, opened

    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {out} must end in {' or '.join(ENDINGS)}.")
    if form not in (None, out.suffix.lower()[1:]):
        raise UserError(f"--format {form} does not go with --out {out}, whose ending tells the format.")
    found, loaded = _loaded(model, paths, precision)
    files = found.files
    loaded.check_abstain(abstain)
    with opened(out, loaded, abstain) as file:
        rest = file.left(files)
        file.add([entry for entry in found.excluded if entry.path not in file.excluded])
        done = len(files) - len(rest)
        if done:
            say(f"{out}: {done:,} of {len(files):,} files are done already.")
        with closing(stream(loaded, rest, done=done, abstain=abstain)) as chunks:
            for chunk in chunks:
                file.add(chunk)
        left_out = sum(name in file.excluded for name in files) + len(found.excluded)
    if left_out:
        say(f"left out: {left_out:,} of {len(files) + len(found.excluded):,} files; {file.excluded_path} says why.")
    output.path(out)
    return left_out


def _as_they_come(model: Path, paths: Sequence[Path], precision: str, abstain: float | None, form: str) -> int:
    from serlab.core import Exclusion
    from serlab.inference.files import stream
    from serlab.inference.table import as_csv, lines
    from serlab.model.prediction import Prediction, column_names

    found, loaded = _loaded(model, paths, precision)
    loaded.check_abstain(abstain)
    if form == "csv":
        sys.stdout.write(as_csv([column_names(loaded.labels)]))
    options.say_left_out(found.excluded)
    left_out = len(found.excluded)
    with closing(stream(loaded, found.files, abstain=abstain)) as chunks:
        for chunk in chunks:
            sys.stdout.write(lines((result for result in chunk if isinstance(result, Prediction)), form))
            sys.stdout.flush()
            excluded = [result for result in chunk if isinstance(result, Exclusion)]
            options.say_left_out(excluded)
            left_out += len(excluded)
    return left_out


def _at_the_end(model: Path, paths: Sequence[Path], precision: str, abstain: float | None, form: str | None) -> int:
    from serlab.inference.files import predict as run

    result = run(model, paths, precision=precision, abstain=abstain)
    if form == "json":
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
    # Text and not markup: a file may be called "[red].wav".
    labels = (Column(Text(shown(label))) for label in result.predictions[0].probabilities)
    table = Table(Column("file", overflow="fold"), "emotion", *labels, box=None)
    for row in result.predictions:
        shares = (f"{share:.2f}" for share in row.probabilities.values())
        table.add_row(Text(shown(row.path or "")), Text(shown(row.label or "can't tell")), *shares)
    # A terminal folds what is too long for it; a file or a pipe gets each row whole.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
