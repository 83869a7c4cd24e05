"""``serlab predict``."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from serlab.cli import command, options, output
from serlab.core import UserError
from serlab.core.precision import PRECISIONS
from serlab.core.progress import say, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serlab.audio import Found
    from serlab.inference.files import Predictions
    from serlab.model.model import Model
    from serlab.model.prediction import Prediction
    from serlab.model.segments import Segment, SegmentOptions

PLOTS = (".html", ".png")
SOUNDS = ("link", "embed", "none")
FORMATS = ("table", "json", "jsonl", "csv", "vtt", "textgrid", "audacity")
# Endings of files that are written at the end, and their formats; the others grow while predictions are made.
_AT_THE_END = {".parquet": "parquet", ".vtt": "vtt", ".textgrid": "textgrid", ".txt": "audacity"}
_WIDE = 100_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, predict)


@dataclass(frozen=True, kw_only=True)
class PredictOptions(options.DivisionOptions):
    """Options of ``serlab predict``."""

    paths: Annotated[list[Path], typer.Argument(help="Audio files and folders.", show_default=False)]
    model: options.Model = None
    form: Annotated[
        str | None, typer.Option("--format", help=f"`table` (the default) or one of {', '.join(FORMATS[1:])}.")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write to this file: .csv or .jsonl (if it exists, add what is missing), .parquet, .vtt, .TextGrid or "
            ".txt (Audacity labels)."
        ),
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw one recording over time: .html (a page with a player) or .png."),
    ] = None
    audio: Annotated[
        str,
        typer.Option(help="The page's player: `link` (the file where it is), `embed` (a copy in the page) or `none`."),
    ] = "link"
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
    calibrated: options.Calibrated = False

    @property
    def how(self) -> SegmentOptions:
        """How recordings are divided; what is drawn is divided in any case."""
        return self.division or ({} if self.plot is None else {"vad": "auto"})

    def check_plot(self) -> None:
        """Refuse, before hours of work, what cannot be drawn."""
        from serlab.audio import find_audio
        from serlab.core.files import check_target

        if self.plot is None:
            if self.audio != "link":
                raise UserError(f"--audio {self.audio} is for the page of --plot; add --plot FILE.html, or omit it.")
            return
        if self.plot.suffix.lower() not in PLOTS:
            raise UserError(f"--plot {self.plot} must end in {' or '.join(PLOTS)}.")
        options.check_choice(self.audio, SOUNDS, "--audio")
        if self.plot.suffix.lower() != ".html" and self.audio != "link":
            raise UserError(f"--audio {self.audio} is for a page; name one with --plot FILE.html, or omit it.")
        check_target(self.plot)
        if (count := len(find_audio(self.paths).files)) > 1:
            raise UserError(f"--plot draws one recording, not {count}; give one file.")

    def load(self) -> tuple[Found, Model]:
        """Find the files and load the model."""
        from serlab.audio import find_audio
        from serlab.model.model import load_model

        found, model = find_audio(self.paths), load_model(options.model_of(self.model), precision=self.precision)
        model.check_reliance(self.abstain, calibrated=self.calibrated)
        return found, model


def predict(args: PredictOptions) -> None:
    """Predict the emotion in audio files; files that cannot be read are listed, and the exit code is then 1.

    A recording longer than 30 seconds is divided into segments; `--window`, `--hop`, `--vad` or `--smoothing` divides
    shorter ones too.

    Examples:
        serlab predict --model runs/synthetic/speaker-3/resnet18-small/fold1-seed0 recording.wav

        serlab predict --model MODEL recordings/ --format csv > predictions.csv

        serlab predict --model MODEL recordings/ --out predictions.csv

        serlab predict --model MODEL recordings/ --abstain 0.1

        serlab predict --model MODEL interview.mp3 --window 4 --hop 2 --out interview.vtt

        serlab predict --model MODEL interview.mp3 --plot interview.html
    """
    options.check_choice(args.form, FORMATS, "--format")
    args.check_plot()
    kept = _Kept()
    if args.out is not None:
        left_out = _to_file(args, args.out, kept)
    elif args.form in ("csv", "jsonl"):
        left_out = _as_they_come(args, args.form, kept)
    elif args.form is not None and args.form in _AT_THE_END.values():
        left_out, text = _of_one(args, args.form, kept)
        sys.stdout.write(text)
    else:
        left_out = _at_the_end(args, kept)
    if args.plot is not None and not _draw(args, args.plot, kept):
        left_out += 1
    if left_out:
        raise typer.Exit(1)


class _Kept:
    """The predictions that are drawn later."""

    def __init__(self) -> None:
        self.labels: tuple[str, ...] = ()
        self.predictions: list[Prediction] = []

    def add(self, args: PredictOptions, labels: tuple[str, ...], results: Iterable[object]) -> None:
        """Keep predictions if they are to be drawn; else they may be too many."""
        from serlab.model.prediction import Prediction

        if args.plot is not None:
            self.labels = labels
            self.predictions += [found for found in results if isinstance(found, Prediction)]


def _draw(args: PredictOptions, plot: Path, kept: _Kept) -> bool:
    """Draw what was predicted; whether there was anything."""
    from serlab.inference import page, picture
    from serlab.inference.timeline import timeline_of

    if not kept.predictions:
        say(f"{plot} is not written, because nothing was predicted.")
        return False
    drawn = kept.predictions[0]
    if plot.suffix.lower() == ".png":
        picture.write_picture(timeline_of(drawn, kept.labels, picture.COLUMNS), plot)
    else:
        page.write_page(timeline_of(drawn, kept.labels, page.COLUMNS), plot, audio=cast("page.Audio", args.audio))
    if args.form is None:
        output.path(plot)
    else:
        say(f"the plot is in {plot}.")
    return True


def _to_file(args: PredictOptions, out: Path, kept: _Kept) -> int:
    from serlab.inference.table import ENDINGS

    ending = out.suffix.lower()
    if ending not in (*ENDINGS, *_AT_THE_END):
        raise UserError(f"--out {out} must end in {', '.join((*ENDINGS, *list(_AT_THE_END)[:-1]))} or .txt.")
    form = _AT_THE_END.get(ending, ending[1:])
    if args.form not in (None, form):
        raise UserError(f"--format {args.form} contradicts the ending of --out {out}; omit one of them.")
    left_out = _growing(args, out, kept) if ending in ENDINGS else _whole(args, out, form, kept)
    output.path(out)
    return left_out


def _whole(args: PredictOptions, out: Path, form: str, kept: _Kept) -> int:
    from serlab.core.files import check_target, write_text, writing

    check_target(out)
    if form == "parquet":
        result = _run(args, args.how, kept)
        with writing(out) as temporary:
            result.to_frame().to_parquet(temporary, index=False)
        options.say_left_out(result.excluded)
        options.say_warnings(result.predictions)
        return len(result.excluded)
    left_out, text = _of_one(args, form, kept)
    write_text(out, text)
    return left_out


def _of_one(args: PredictOptions, form: str, kept: _Kept) -> tuple[int, str]:
    """Write the segments of the only recording; one that is short is divided too."""
    from serlab.inference.export import WRITERS

    result = _run(args, args.division or {"vad": "auto"}, kept)
    options.say_left_out(result.excluded)
    options.say_warnings(result.predictions)
    if len(result.predictions) != 1:
        raise UserError(f"the format {form} is for one recording, not {len(result.predictions)}; give one file.")
    return len(result.excluded), WRITERS[form](result.predictions[0])


def _growing(args: PredictOptions, out: Path, kept: _Kept) -> int:
    from serlab.inference.files import all_long, any_long, stream
    from serlab.inference.table import divides_clips, opened

    found, model = args.load()
    files = found.files
    # A table that was begun without options stays as it is, also if a plot is made.
    how = {} if not args.division and divides_clips(out) is False else args.how
    segments = how if how or any_long(files) else None
    with opened(
        out, model, args.abstain, segments=segments, calibrated=args.calibrated, all_long=all_long(files)
    ) as file:
        rest = file.left(files)
        file.add([entry for entry in found.excluded if entry.path not in file.excluded])
        done = len(files) - len(rest)
        if done:
            say(f"{out}: {done:,} of {len(files):,} files are done already.")
        with closing(stream(model, rest, done=done, abstain=args.abstain, calibrated=args.calibrated, **how)) as chunks:
            for chunk in chunks:
                file.add(chunk)
                kept.add(args, model.labels, chunk)
                options.say_warnings(chunk)
        left_out = sum(name in file.excluded for name in files) + len(found.excluded)
        predicted = [name for name in files if name not in file.excluded]
    if args.plot is not None and predicted and not any(one.segments for one in kept.predictions):
        # Its rows are there already, or it is not divided there.
        kept.predictions.clear()
        again = stream(model, predicted, abstain=args.abstain, calibrated=args.calibrated, **args.how)
        with closing(again) as chunks:
            for chunk in chunks:
                kept.add(args, model.labels, chunk)
    if left_out:
        say(f"left out: {left_out:,} of {len(files) + len(found.excluded):,} files; {file.excluded_path} says why.")
    return left_out


def _as_they_come(args: PredictOptions, form: str, kept: _Kept) -> int:
    from serlab.core import Exclusion
    from serlab.inference.files import any_long, stream
    from serlab.inference.table import as_csv, lines
    from serlab.model.prediction import Prediction, column_names

    found, model = args.load()
    how = args.how
    segments = bool(how) or any_long(found.files)
    columns = column_names(model.labels, segments=segments, calibrated=args.calibrated)
    if form == "csv":
        sys.stdout.write(as_csv([columns]))
    options.say_left_out(found.excluded)
    left_out = len(found.excluded)
    with closing(stream(model, found.files, abstain=args.abstain, calibrated=args.calibrated, **how)) as chunks:
        for chunk in chunks:
            sys.stdout.write(lines((result for result in chunk if isinstance(result, Prediction)), form, columns))
            sys.stdout.flush()
            kept.add(args, model.labels, chunk)
            excluded = [result for result in chunk if isinstance(result, Exclusion)]
            options.say_left_out(excluded)
            if form == "csv":
                options.say_warnings(chunk)
            left_out += len(excluded)
    return left_out


def _at_the_end(args: PredictOptions, kept: _Kept) -> int:
    result = _run(args, args.how, kept)
    if args.form == "json":
        predictions = [row.data() for row in result.predictions]
        excluded = options.as_json(result.excluded)
        print(json.dumps({"model": result.model, "predictions": predictions, "excluded": excluded}, indent=1))
    else:
        if args.form is not None or args.plot is None:
            _print_table(result)
        options.say_left_out(result.excluded)
        options.say_warnings(result.predictions)
    return len(result.excluded)


def _run(args: PredictOptions, how: SegmentOptions, kept: _Kept) -> Predictions:
    from serlab.inference.files import predict as run

    result = run(
        options.model_of(args.model),
        args.paths,
        precision=args.precision,
        abstain=args.abstain,
        calibrated=args.calibrated,
        **how,
    )
    kept.add(args, result.labels, result.predictions)
    return result


def _print_table(result: Predictions) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from serlab.model.prediction import word_of

    if not result.predictions:
        return
    divided = any(row.segments for row in result.predictions)
    # Text, not markup: a file may be called "[red].wav".
    labels = (Column(Text(shown(label))) for label in result.labels)
    table = Table(Column("file", overflow="fold"), *(["time"] if divided else []), "emotion", *labels, box=None)
    for row in result.predictions:
        parts: list[tuple[str, Prediction | Segment]] = [("", row)]
        parts += [(f"{one.start:.1f}-{one.end:.1f} s", one) for one in row.segments]
        for time, part in parts:
            shares = (f"{share:.2f}" for share in part.probabilities.values())
            table.add_row(
                Text(shown(row.path or "")), *([time] if divided else []), Text(shown(word_of(part))), *shares
            )
    # A terminal folds long rows; a file or pipe gets each row on one line.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
