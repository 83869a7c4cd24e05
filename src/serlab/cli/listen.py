"""``serlab listen``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import command, options
from serlab.cli.ending import INTERRUPTED
from serlab.core import UserError
from serlab.core.precision import PRECISIONS
from serlab.core.progress import say, shown

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from serlab.inference.live import Live
    from serlab.model.segments import Segment

FORMATS = ("live", "jsonl")
_BAR = 30


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, listen)


@dataclass(frozen=True, kw_only=True)
class ListenOptions(options.DivisionOptions):
    """Options of ``serlab listen``."""

    source: Annotated[
        str | None, typer.Argument(metavar="-", help="`-` for standard input; the microphone if omitted.")
    ] = None
    model: options.Model = None
    form: Annotated[
        str | None, typer.Option("--format", help="`live` (on a terminal) or `jsonl` (elsewhere): what is printed.")
    ] = None
    raw: Annotated[
        str | None, typer.Option(help="Standard input has no header: `s16`, `s32`, `f32` or `u8` samples.")
    ] = None
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="Sample rate of --raw.")] = None
    channels: Annotated[int, typer.Option(help="Channels of --raw.")] = 1
    microphone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another microphone: its number, or part of its name.")
    ] = None
    seconds: Annotated[float | None, typer.Option(help="Stop after this many seconds of sound.")] = None
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")] = "auto"
    abstain: Annotated[float | None, typer.Option(metavar="SHARE", help="As for `serlab predict`.")] = None
    calibrated: options.Calibrated = False

    def live(self) -> AbstractContextManager[Live]:
        """Open the source of sound."""
        from serlab.inference.live import Raw, microphone, pipe

        if self.source not in (None, "-"):
            raise UserError(f"{self.source} is not -; pass - for standard input, or use serlab predict for files.")
        if (self.raw is None) != (self.rate is None):
            raise UserError("--raw and --rate belong together; give both, or neither for sound with a header.")
        if self.raw is None and self.channels != 1:
            raise UserError("--channels is for --raw; a sound's header has its own number, and a microphone is mono.")
        if self.source is None:
            if self.raw is not None:
                raise UserError("--raw is for standard input; add -, or omit it for the microphone.")
            return microphone(self.microphone)
        if self.microphone is not None:
            raise UserError("--microphone contradicts -, which is standard input; omit one of them.")
        raw = None if self.raw is None or self.rate is None else Raw(self.raw, self.rate, self.channels)
        return pipe(sys.stdin.buffer, raw)


def listen(args: ListenOptions) -> None:
    """Predict the emotion in live sound, from a microphone or a pipe, segment by segment.

    Ctrl-C stops it: the last segment is still printed, and the exit code is 130.

    Examples:
        serlab listen --model MODEL

        ffmpeg -i rtsp://camera -flush_packets 1 -f wav - | serlab listen --model MODEL -

        arecord -f S16_LE -r 16000 | serlab listen --model MODEL - --raw s16 --rate 16000
    """
    options.check_choice(args.form, FORMATS, "--format")
    if args.seconds is not None and not args.seconds > 0:
        raise UserError(f"--seconds {args.seconds:g} is not above 0.")
    from serlab.audio import AudioError
    from serlab.inference.live import Listening
    from serlab.model.model import load_model

    model = load_model(options.model_of(args.model), precision=args.precision)
    model.check_reliance(args.abstain, calibrated=args.calibrated)
    form = args.form or ("live" if sys.stdout.isatty() else "jsonl")
    with args.live() as live:
        try:
            stream = model.stream(live.sample_rate, abstain=args.abstain, calibrated=args.calibrated, **args.division)
            listening = Listening(live, stream, args.seconds)
            try:
                with _printer(form) as show:
                    for segment in listening.segments():
                        show(segment)
            finally:
                say(f"{live.name}: {listening.measured()}.")
                options.say_each(live.name, stream.warnings)
        except AudioError as error:
            raise UserError(f"{live.name} cannot be used: {error.reason}.") from error
    if listening.interrupted:
        # Without the message of other commands, which resume.
        raise SystemExit(INTERRUPTED)


@contextmanager
def _printer(form: str) -> Iterator[Callable[[Segment], None]]:
    if form == "jsonl":
        yield lambda segment: print(json.dumps(asdict(segment)), flush=True)
    elif not sys.stdout.isatty():
        yield lambda segment: print(_line(segment), flush=True)
    else:
        from rich.live import Live as View

        with View("listening …", auto_refresh=False) as view:
            yield lambda segment: view.update(_picture(segment), refresh=True)


def _line(segment: Segment) -> str:
    from serlab.model.prediction import word_of

    return f"{segment.start:.1f}-{segment.end:.1f} s  {shown(word_of(segment))}"


def _picture(segment: Segment) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, title=Text(_line(segment)), title_justify="left")
    for label, share in segment.probabilities.items():
        table.add_row(Text(shown(label)), "█" * round(_BAR * share), f"{share:.2f}")
    return table
