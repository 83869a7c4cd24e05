"""Training for the classifier: the clips of X as a corpus, one run, and its model folder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from serlab.approaches.base import Fixed
from serlab.core import Exclusion
from serlab.corpora.base import Corpus, fingerprint
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.deployment import DeployedIdentity
from serlab.experiments.run import run, run_on_everyone
from serlab.experiments.signature import sign
from serlab.frontends.store import FeatureStores
from serlab.model import folder
from serlab.model.card import deployment_card, model_card
from serlab.protocols.base import Fold, Split
from serlab.recipes import Recipe
from serlab.sklearn.inputs import Clips, clip_name
from serlab.tables import ledger

_SPLIT = "fit"
_TITLE = "fit"


def corpus_of(clips: Clips, labels: tuple[str, ...], targets: NDArray[np.intp], groups: ArrayLike | None) -> Corpus:
    """The clips of a fit as a corpus.

    Args:
        clips: the clips.
        labels: names of the classes.
        targets: index of each clip's label, shape (clips,).
        groups: speaker of each clip; None if unknown.
    """
    speakers = [""] * len(targets) if groups is None else [str(group) for group in np.asarray(groups).ravel()]
    table = pd.DataFrame(
        {
            "clip": [clip_name(place) for place in range(len(targets))],
            "path": [file.path for file in clips.files],
            "speaker": speakers,
            "label": [labels[target] for target in targets],
            "duration": [file.duration for file in clips.files],
            "sample_rate": clips.rates,
            "sha256": [file.sha256 for file in clips.files],
        }
    )
    return Corpus(
        name="the clips given to fit",
        clips=table,
        labels=labels,
        licence="unknown",
        citation="unknown",
        fingerprint=fingerprint(table),
        copy=f"{len(table)} clips",
        speakers_known=groups is not None,
    )


class _Context(RunContext):
    """The context of a fit, whose clips were checked before; one that cannot be used is an error, not excluded."""

    @cached_property
    def exclusions(self) -> tuple[Exclusion, ...]:
        return ()


def train(
    recipe: Recipe, corpus: Corpus, dev: list[str], target: Path, *, seed: int, cache: bool, workspace: Path
) -> None:
    """Train a recipe and write a model folder.

    Args:
        recipe: the recipe.
        corpus: the clips.
        dev: the clips to select on; all others are for training.
        target: the model folder.
        seed: of the run.
        cache: keep features on disk.
        workspace: private folder for checkpoints.

    Raises:
        SerlabError: training fails.
    """
    names = corpus.clips["clip"]
    fold = Fold(1, tuple(names[~names.isin(dev)]), tuple(dev), ())
    definition = "Some of the groups given to fit are for development, and none for a test."
    split = Split(_SPLIT, definition, True if corpus.speakers_known else None, None, (fold,))
    context = _Context(corpus, split, workspace, FeatureStores(cached=cache))
    spec, started = RunSpec.of(recipe, fold, int(seed)), ledger.now()
    if dev:
        result = run(spec, context, workspace=workspace, title=_TITLE, before_test=None)
        signature = sign(spec, context, result, started).data()
        card = model_card(signature, needs_serlab=result.fitted.needs_serlab)
    else:
        fixed = Fixed()
        result = run_on_everyone(spec, context, fixed, workspace=workspace, title=_TITLE)
        identity = DeployedIdentity(**vars(context.identity(spec)), fixed=fixed, quoted=None)
        signature = sign(spec, context, result, started, identity).data()
        card = deployment_card(signature, needs_serlab=result.fitted.needs_serlab)
    folder.save(result.fitted, target, signature, card, speech=result.speech)
