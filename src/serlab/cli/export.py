"""``serlab export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import command, output
from serlab.core.progress import say

if TYPE_CHECKING:
    from serlab.export.exporting import Exported


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, export)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of ``serlab export``."""

    model: Annotated[str, typer.Argument(help="Model folder, as for `serlab predict`.", show_default=False)]
    file: Annotated[Path, typer.Argument(help="The file to write, ending in .onnx.", show_default=False)]
    int8: Annotated[bool, typer.Option("--int8", help="Round weights and activations to 8 bits; needs --clips.")] = (
        False
    )
    clips: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Audio file or folder to compare with torch; may be repeated."),
    ] = None


def export(args: ExportOptions) -> None:
    """Write a model as one ONNX file that runs without serlab and torch; prints the file's path.

    The file takes samples and returns probabilities; its metadata names the labels. It is compared with torch before
    it is written. `--int8` makes it smaller and changes some labels; how many is measured on `--clips`.

    Examples:
        serlab export runs/my-model model.onnx

        serlab export runs/my-model small.onnx --int8 --clips recordings/
    """
    from serlab.export.exporting import export as write
    from serlab.model.model import load_model

    exported = write(load_model(args.model), args.file, int8=args.int8, clips=args.clips or ())
    say(_summary(exported))
    output.path(exported.path)


def _summary(exported: Exported) -> str:
    agreement = exported.agreement
    size = f"{exported.path}: {exported.size / 1e6:.1f} MB, {exported.precision}"
    if exported.precision == "int8":
        rate = 100 * agreement.flips / agreement.clips
        return (
            f"{size}; {agreement.flips} of {agreement.clips} clips ({rate:.1f} %) change their label, and the largest "
            f"difference of a probability is {agreement.difference:.2g}."
        )
    return f"{size}; equal to torch within {agreement.difference:.1g} on {agreement.clips} clips."
