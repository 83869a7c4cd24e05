"""``serlab push``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from serlab.cli import command, output
from serlab.core.progress import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, push)


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Options of ``serlab push``."""

    model: Annotated[str, typer.Argument(help="Model folder.", show_default=False)]
    repository: Annotated[str, typer.Argument(help="`owner/name` on the hub.", show_default=False)]
    licence: Annotated[
        str | None, typer.Option(metavar="ID", help="The model's licence on the hub, e.g. cc-by-4.0; other if omitted.")
    ] = None
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the files and the card.")] = False


def push(args: PushOptions) -> None:
    """Publish a model on the Hugging Face hub with its card; prints the address of its page.

    Examples:
        serlab push runs/my-model me/my-model --dry-run

        serlab push runs/my-model me/my-model --licence cc-by-4.0
    """
    from serlab.export import hub
    from serlab.model.model import load_model

    chosen = hub.publication(load_model(args.model, precision="fp32"), args.repository, licence=args.licence)
    for name in chosen.left_out:
        say(f"left out: {name} (not a file of a model)")
    if not args.dry_run:
        output.lines([hub.push(chosen, private=args.private)])
        return
    sizes = {
        name: len(content) if isinstance(content, bytes) else content.stat().st_size
        for name, content in chosen.files.items()
    }
    output.lines(f"{name}  {size:,} bytes" for name, size in sorted(sizes.items()))
    output.lines(["", *chosen.card.splitlines()])
