"""``serlab corpora``, ``recipes``, ``protocols`` and ``data verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import options, output
from serlab.core import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(corpora)
    app.command()(recipes)
    app.command()(protocols)
    data = typer.Typer(help="Check corpora.", no_args_is_help=True)
    data.command()(verify)
    data.command()(describe)
    data.command()(get)
    app.add_typer(data, name="data")


def corpora() -> None:
    """List the corpora known by name.

    Example:
        serlab corpora
    """
    from serlab.corpora import descriptions

    _columns((name, known.summary) for name, known in descriptions().items())
    output.lines(
        ["or a folder label/clip.wav, a table (CSV, Parquet) with path, label and speaker, or a description (YAML)"]
    )


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all settings of this recipe.")] = None,
    settings: options.Settings = None,
) -> None:
    """List the recipes, or show one with all its settings.

    Examples:
        serlab recipes

        serlab recipes resnet18 --set training.epochs=3
    """
    from serlab.recipes import load_recipe, load_variant, preset_names

    if name is None and settings:
        raise UserError("--set needs a recipe, e.g. serlab recipes resnet18 --set training.epochs=3.")
    if name is None:
        _columns((preset, load_recipe(preset).title) for preset in preset_names())
        return
    import yaml

    recipe = load_variant(name, options.changes_of([name], settings)[name])
    print(yaml.safe_dump({"title": recipe.title, **recipe.settings()}, sort_keys=False), end="")


def protocols(
    corpus: Annotated[str | None, typer.Argument(help="Only those that fit this corpus, with their sizes.")] = None,
    data: options.Data = None,
) -> None:
    """List the protocols: named ways to split a corpus.

    Examples:
        serlab protocols

        serlab protocols crema-d
    """
    from serlab.protocols import default_protocol, definitions, protocol_names, split

    if corpus is None:
        _columns(definitions().items())
        return
    loaded = options.load(corpus, data)
    for name in protocol_names(loaded):
        chosen = split(loaded, name)
        disjoint = {True: "speaker-disjoint", False: "LEAKS SPEAKERS", None: "speakers unknown"}
        sizes = " ".join(f"{len(f.train)}/{len(f.dev)}/{len(f.test)}" for f in chosen.folds)
        mark = " (default)" if name == default_protocol(loaded) else ""
        output.lines([f"{name}{mark}: {disjoint[chosen.speaker_disjoint]}; train/dev/test {sizes}"])


def verify(
    corpus: options.CorpusName,
    data: options.Data = None,
    form: options.Format = "table",
) -> None:
    """Check the files of a corpus: missing, extra, corrupt, or not the official ones; exit code 1 if there are any.

    Example:
        serlab data verify crema-d --data CREMA-D
    """
    options.check_choice(form, options.FORMATS, "--format")
    from serlab.corpora.verify import verify as check

    result = check(corpus, options.folder_of(data, corpus))
    if form == "json":
        print(json.dumps(result.as_dict(), indent=1))
    else:
        output.lines([f"{result.corpus}: {result.present} of {result.clips} clips present; {result.copy}"])
        faults = [f"{entry.clip} ({entry.reason})" for entry in result.known_faults]
        corrupt = [f"{entry.clip} ({entry.reason})" for entry in result.corrupt]
        left_out = [f"{entry.clip} ({entry.reason})" for entry in result.left_out]
        for title, found in (
            ("missing", result.missing),
            ("extra", result.extra),
            ("corrupt", corrupt),
            ("left out", left_out),
            ("faulty in the official corpus too", faults),
            ("not the official bytes", result.differing),
        ):
            if found:
                more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
                output.lines([f"{title}: {len(found)}: {', '.join(found[:_SHOWN])}{more}"])
        output.lines(["no problems found" if result.ok else "problems found: see above"])
    if not result.ok:
        raise typer.Exit(1)


def describe(folder: Annotated[Path, typer.Argument(help="A folder of audio files.", show_default=False)]) -> None:
    """Draft a description (YAML) of a corpus from the names of its files.

    Examples:
        serlab data describe FOLDER > my-corpus.yaml

        serlab compare my-corpus.yaml --data FOLDER
    """
    from serlab.corpora.drafting import draft

    print(draft(folder).text, end="")


def get(
    name: Annotated[str, typer.Argument(help="A known corpus (`serlab corpora`).", show_default=False)],
    data: Annotated[Path | None, typer.Option("--data", help="Folder for it, if not in $SERLAB_DATA.")] = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You accept the corpus's licence.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched.")] = False,
) -> None:
    """Get the official files of a corpus; finished files are kept, so that a later call continues.

    Example:
        serlab data get crema-d --accept-licence
    """
    from serlab.core import unknown
    from serlab.corpora import descriptions
    from serlab.corpora.fetching import get as fetch
    from serlab.corpora.fetching import wanted
    from serlab.corpora.locate import place_for

    known = descriptions().get(name)
    if known is None:
        raise unknown("corpus", name, descriptions())
    folder = place_for(name, data)
    files, there = wanted(known, folder)
    size = sum(file.size for file in files) / 1e6
    output.lines(
        [
            f"{known.title}: {len(files):,} files, {size:,.1f} MB, to {folder} ({there:,} files are there)",
            f"licence: {known.licence}",
            f"cite: {known.citation}",
        ]
    )
    if dry_run:
        return
    if files and not accept_licence:
        raise UserError(f"read the licence of {known.title} above; if you accept it, add --accept-licence.")
    fetch(known, files)
    output.lines([f"all {len(files) + there:,} files are the official ones"])


def _columns(rows: Iterable[tuple[str, str]]) -> None:
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs)
    output.lines(f"{name:<{width}}  {text}" for name, text in pairs)
