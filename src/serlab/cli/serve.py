"""``serlab serve`` and ``serlab demo``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import command
from serlab.core import UserError
from serlab.core.precision import PRECISIONS
from serlab.core.progress import say

if TYPE_CHECKING:
    from serlab.serve.limits import Limits

TOKEN = "SERLAB_TOKEN"
"""Variable with the token, so that no list of processes shows it."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command.add(app, serve)
    command.add(app, demo)


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of ``serlab demo``."""

    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Model folders; the shipped model if omitted.", show_default=False),
    ] = None
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.")] = 0
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}, as for `serlab predict`.")] = "auto"

    def run(self, limits: Limits, opened: Callable[[str], None], *, host: str, workers: int, token: str = "") -> None:
        """Serve until the end."""
        from serlab.serve.limits import Settings
        from serlab.serve.server import is_local, run

        settings = Settings(
            models=tuple(self.models or ()),
            precision=self.precision,
            token=token,
            local=is_local(host),
            limits=limits,
        )
        say("loading …")
        run(settings, host=host, port=self.port, workers=workers, opened=opened)


@dataclass(frozen=True, kw_only=True)
class ServeOptions(DemoOptions):
    """Options of ``serlab serve``."""

    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one, which is printed.")] = 8000
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines too (then set a token).")
    ] = "127.0.0.1"
    workers: Annotated[int, typer.Option(help="Processes, each with a copy of the models.")] = 1
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the token that requests must send; or set the variable {TOKEN}."),
    ] = None
    max_mb: Annotated[float, typer.Option(help="Largest body of a request, in MB.")] = 25
    max_seconds: Annotated[float, typer.Option(help="Longest recording, in seconds.")] = 600
    in_flight: Annotated[int, typer.Option(help="Requests at the same time; more get the code 429.")] = 64
    queue: Annotated[int, typer.Option(help="Clips that wait for a model; more get the code 503.")] = 128
    held_mb: Annotated[float, typer.Option(help="Uploads in memory, in MB; more get the code 503.")] = 512
    timeout: Annotated[float, typer.Option(help="Seconds to receive a request, and again to answer it.")] = 120
    decoders: Annotated[int, typer.Option(help="Processes that decode.")] = 2
    decode_seconds: Annotated[float, typer.Option(help="Most seconds to decode a recording.")] = 20
    decode_mb: Annotated[float, typer.Option(help="Memory of a decoder, in MB.")] = 2000
    batch: Annotated[int, typer.Option(help="Clips of equal length that are scored together; 1 for none.")] = 16
    batch_files: Annotated[int, typer.Option(help="Recordings in one request.")] = 64
    streams: Annotated[int, typer.Option(help="WebSocket streams at the same time.")] = 8
    stream_seconds: Annotated[float, typer.Option(help="Longest stream, in seconds.")] = 3600

    @property
    def limits(self) -> Limits:
        """The limits among the options."""
        from serlab.serve.limits import Limits

        return Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})

    @property
    def token(self) -> str:
        """The token; empty for none."""
        if self.token_file is None:
            return os.environ.get(TOKEN, "").strip()
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise UserError(f"--token-file {self.token_file} cannot be read; expected one line of text.") from error
        if not token:
            raise UserError(f"--token-file {self.token_file} is empty; expected one line of text.")
        return token


def serve(args: ServeOptions) -> None:
    """Answer predictions over HTTP and WebSocket, and show a page; Ctrl-C or SIGTERM shuts it down cleanly.

    Examples:
        serlab serve

        serlab serve MODEL OTHER-MODEL --port 0

        curl -F file=@recording.wav http://127.0.0.1:8000/v1/predict
    """
    token = args.token
    if args.host not in ("127.0.0.1", "localhost", "::1") and not token:
        say(f"any machine that reaches {args.host} can send requests without a token; set {TOKEN} or --token-file.")

    def opened(address: str) -> None:
        print(address, flush=True)
        say("press Ctrl-C to stop.")

    args.run(args.limits, opened, host=args.host, workers=args.workers, token=token)


def demo(args: DemoOptions) -> None:
    """Show a page to try a model: open a file, or record; Ctrl-C stops it.

    Examples:
        serlab demo

        serlab demo MODEL OTHER-MODEL
    """
    from serlab.serve.limits import Limits

    def opened(address: str) -> None:
        import webbrowser

        print(address, flush=True)
        in_browser = webbrowser.open(address)
        say("press Ctrl-C to stop." if in_browser else "open this address in a browser; press Ctrl-C to stop.")

    args.run(Limits(), opened, host="127.0.0.1", workers=1)
