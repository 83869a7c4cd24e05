"""``serlab corpora``, ``recipes`` and ``protocols``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serlab.cli import options, output
from serlab.core import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(corpora)
    app.command()(recipes)
    app.command()(protocols)


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


def _columns(rows: Iterable[tuple[str, str]]) -> None:
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs)
    output.lines(f"{name:<{width}}  {text}" for name, text in pairs)
