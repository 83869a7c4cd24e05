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
    app.add_typer(data, name="data")


def corpora() -> None:
    """List the corpora known by name.

    Example:
        serlab corpora
    """
    from serlab.corpora import descriptions

    _columns((name, known.summary) for name, known in descriptions().items())
    output.lines(
        [
            "or the path of a folder label/clip.wav, of a table (CSV, Parquet) with path, label and speaker, or of a",
            "description (YAML; serlab data describe drafts one)",
        ]
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


def _columns(rows: Iterable[tuple[str, str]]) -> None:
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs)
    output.lines(f"{name:<{width}}  {text}" for name, text in pairs)
