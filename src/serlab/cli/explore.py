"""``serlab explore``: a look at a corpus before any training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from serlab.cli import command, options, output
from serlab.cli.command import After
from serlab.core.progress import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, explore)


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(options.CorpusOptions):
    """Options of ``serlab explore``."""

    features: Annotated[
        str,
        typer.Option(help="`mfcc`, `egemaps` (extra opensmile), or a recipe with a pretrained encoder."),
        After("data"),
    ] = "mfcc"
    out: Annotated[Path, typer.Option(help="Folder of results."), After("features")] = Path("runs")
    audio: Annotated[str, typer.Option(help="The page's clips: `link`, `embed` or `none`."), After("out")] = "link"
    cache: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep features on disk (`serlab cache show`); results are the same."),
        After("audio"),
    ] = True


def explore(args: ExploreOptions) -> None:
    """Look at a corpus before any training; prints the path of the page.

    The page shows clips by label and speaker, sound, what explains the differences between clips,
    clips to listen to, the leak audit and the protocols. Files that cannot be used are listed, and
    the exit code is then 1.

    Examples:
        serlab explore crema-d

        serlab explore my-clips.csv --speaker-column who --features whisper-base-probe
    """
    options.check_choice(args.audio, options.AUDIO, "--audio")
    from serlab.core.files import check_writable
    from serlab.corpora import load_any
    from serlab.experiments.exploring import explore as look
    from serlab.experiments.exploring_features import check_name

    # Before the corpus is scanned, which may take minutes.
    check_name(args.features)
    check_writable(args.out)
    found = load_any(args.corpus, data=options.folder_of(args.data, args.corpus), columns=args.columns)
    result = look(found, features=args.features, out=args.out, audio=args.audio, cache=args.cache)  # type: ignore[arg-type]
    for text in result.suggestions:
        say(text)
    output.path(result.page)
    options.say_left_out([entry for entry in result.exclusions if entry not in found.excluded])
    if result.exclusions:
        raise typer.Exit(1)
