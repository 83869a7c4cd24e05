"""``serlab pretrain``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from serlab.cli import command, options, output
from serlab.core.progress import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, pretrain)


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Options of ``serlab pretrain``."""

    recipe: Annotated[
        str, typer.Argument(help="The preset or YAML file whose encoder is pretrained.", show_default=False)
    ]
    speech: Annotated[
        list[str], typer.Option(help="A folder of speech, or a known corpus; may be repeated.", show_default=False)
    ]
    out: Annotated[Path, typer.Option(help="The encoder folder to write.")] = Path("encoder")
    settings: options.Settings = None
    precision: Annotated[str | None, typer.Option(help="`auto` (bf16 if it is faster), `fp32` or `bf16`.")] = None
    max_excluded: Annotated[
        float,
        typer.Option(min=0, max=1, help="Largest share of recordings that may be left out; above it, nothing is made."),
    ] = 0.05


def pretrain(args: PretrainOptions) -> None:
    """Pretrain an encoder from random weights on speech without labels; prints the path of the encoder folder.

    The encoder learns to predict the hidden states of a larger one, such as Whisper's. An interrupted command resumes
    where it stopped. Plain transformers loads the folder, and recipes start from it with `model.checkpoint`.

    Examples:
        serlab pretrain wav2vec2-small-scratch --speech LibriSpeech/ --out encoder/

        serlab pretrain wav2vec2-small-scratch --speech speech/ --speech ravdess --set training.pretraining.epochs=40

        serlab train crema-d --recipe wav2vec2-small --set model.checkpoint=encoder/
    """
    from serlab.experiments.pretrain import pretrain
    from serlab.recipes import load_variant

    changes = options.changes_of([args.recipe], args.settings, args.precision)
    folder = pretrain(
        load_variant(args.recipe, changes[args.recipe]), args.speech, out=args.out, max_excluded=args.max_excluded
    )
    start = shlex.quote(f"model.checkpoint={folder}")
    say(f"to fine-tune it: serlab train CORPUS --recipe wav2vec2-small --set {start}")
    output.path(folder)
