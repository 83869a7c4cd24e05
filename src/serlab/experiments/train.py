"""Train and keep one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from serlab.core import UserError, argument, setting
from serlab.corpora import Folders, load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.screening import MAX_SHARE
from serlab.experiments.compare import compare
from serlab.experiments.crossing import Labels
from serlab.experiments.crossing_everyone import train_on_corpora
from serlab.experiments.deployment import train_on_everyone
from serlab.model.model import Model, load_model
from serlab.recipes import Recipe, load_recipe


def check_arguments(everyone: bool, of_split: Mapping[str, object], of_everyone: Mapping[str, object]) -> None:
    """Refuse arguments that contradict ``everyone``.

    Args:
        everyone: whether to train on all clips.
        of_split: arguments that need a split, by name; None if not given.
        of_everyone: arguments that need ``everyone``, likewise.

    Raises:
        UserError: an argument of the wrong kind is given.
    """
    name = next((name for name, value in (of_split if everyone else of_everyone).items() if value is not None), None)
    if name and everyone:
        raise UserError(f"{argument(name)} needs a split, but {argument('everyone')} trains on all clips; omit one.")
    if name:
        more = f"; to train for fewer epochs, change {setting('training.epochs')}" if name == "epochs" else ""
        raise UserError(f"{argument(name)} needs {argument('everyone')}{more}.")


def train(
    recipe: str | Recipe,
    corpus: str | Corpus | Sequence[str | Corpus],
    *,
    data: Folders = None,
    protocol: str | None = None,
    fold: int | None = None,
    seed: int = 0,
    out: Path | str = "runs",
    dev_only: bool = False,
    everyone: bool = False,
    quote: Path | str | None = None,
    epochs: int | None = None,
    labels: Labels = None,
    balance: bool = False,
    max_excluded: float = MAX_SHARE,
    cache: bool = True,
) -> Model:
    """Train a recipe on one fold of a corpus, or on all of its clips, and load the model.

    A run whose results are already in ``out`` is not repeated.

    Args:
        recipe: name of a preset, path of a YAML file, or a recipe.
        corpus: a known corpus's name, the path of a folder or table, or a loaded corpus. With
            ``everyone``, also a list of corpora; their labels are mapped to emotions.
        data: folder of a known corpus, or folders by name.
        protocol: how to split, as for :func:`serlab.compare`.
        fold: the fold; 1 if None.
        seed: the run's seed.
        out: results folder.
        dev_only: never predict the test subset.
        everyone: train on all clips, for deployment. Such a model cannot be tested on the corpus.
        quote: with ``everyone``, a comparison's folder, ``<out>/<corpus>/<protocol>``. The model
            quotes its scores, and its dev subsets choose the number of epochs. Of several corpora,
            ``<out>/<target>/from-<corpora>``.
        epochs: with ``everyone``, number of epochs of a network.
        labels: with several corpora, changes of serlab's table of emotions, as for
            :func:`serlab.compare_across`.
        balance: with several corpora, repeat the clips of smaller ones until all have as many.
        max_excluded: maximum share of clips that may be left out.
        cache: keep features on disk.

    Returns:
        The model. Its ``folder`` is below ``out``.

    Raises:
        SerlabError: as for :func:`serlab.compare`, or arguments contradict each other.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    of_split = {"protocol": protocol, "fold": fold, "dev_only": dev_only or None}
    check_arguments(everyone, of_split, {"quote": quote, "epochs": epochs})
    if not isinstance(corpus, str | Corpus):
        if not everyone:
            raise UserError(f"training on several corpora needs {argument('everyone')}.")
        if data is not None and not isinstance(data, Mapping):
            raise UserError(f"{argument('data', data)} must be folders by name, because there are several corpora.")
        folder = train_on_corpora(
            corpus,
            loaded,
            data=data,
            labels=labels,
            balance=balance,
            quote=None if quote is None else Path(quote),
            epochs=epochs,
            seed=seed,
            out=Path(out),
            max_excluded=max_excluded,
            cache=cache,
        )
        return load_model(folder)
    if labels is not None or balance:
        raise UserError(f"{argument('labels' if labels is not None else 'balance')} needs several corpora.")
    if not everyone:
        numbers = [1 if fold is None else fold]
        done = compare(
            corpus,
            [loaded],
            data=data,
            protocol=protocol,
            folds=numbers,
            seeds=[seed],
            out=out,
            dev_only=dev_only,
            keep_models=True,
            max_excluded=max_excluded,
            cache=cache,
        )
        return load_model(done.models[0])
    folder = train_on_everyone(
        corpus if isinstance(corpus, Corpus) else load_corpus(corpus, data=data),
        loaded,
        quote=None if quote is None else Path(quote),
        epochs=epochs,
        seed=seed,
        out=Path(out),
        max_excluded=max_excluded,
        cache=cache,
    )
    return load_model(folder)
