"""Models for deployment that are trained on all clips of several corpora."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from serlab.core import UserError, argument
from serlab.corpora.emotions import mapped, read_map
from serlab.corpora.screening import MAX_SHARE, check_usable, screen
from serlab.experiments.context import RunSpec
from serlab.experiments.crossing import Labels, loaded
from serlab.experiments.crossing_job import Named
from serlab.experiments.crossing_sides import PooledContext, pool, repeated
from serlab.experiments.deployment import deploy
from serlab.experiments.layout import EVERYONE
from serlab.experiments.plan import check_seeds
from serlab.frontends.store import FeatureStores
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe
from serlab.report.selection import RecipeRuns, group_runs
from serlab.tables.predictions import read_runs
from serlab.training import processes


@processes.led
def train_on_corpora(
    corpora: Sequence[Named],
    recipe: Recipe,
    *,
    data: Mapping[str, Path | str] | None = None,
    labels: Labels = None,
    balance: bool = False,
    quote: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    out: Path = Path("runs"),
    max_excluded: float = MAX_SHARE,
    cache: bool = True,
) -> Path:
    """Train a recipe on all clips of several corpora, and keep the model.

    Args:
        corpora: two or more, by name or path, or loaded.
        recipe: the recipe.
        data: folders of known corpora, by name.
        labels: changes of serlab's table of emotions; see :func:`serlab.corpora.emotions.read_map`.
        balance: repeat the clips of smaller corpora until each corpus has as many as the largest.
        quote: results of the same recipe, trained on the same corpora and tested on another,
            ``<out>/<target>/from-<corpora>``. They choose the number of epochs, or a probe's layer
            and C, and their score is quoted.
        epochs: number of epochs of a network; overrides that of ``quote``.
        seed: the run's seed.
        out: results folder; the model is in ``<out>/<corpora>/everyone/<recipe>/seed<s>``.
        max_excluded: maximum share of a corpus's clips that may be left out.
        cache: keep features on disk.

    Returns:
        The model folder.

    Raises:
        UserError: a name or label is unknown, or the folder has another model.
        FindingsError, MachineError: as in a comparison.
    """
    check_seeds([seed])
    map_ = read_map(labels)
    named = list(dict.fromkeys(corpora))
    if len(named) < 2:
        only = "".join(str(getattr(each, "name", each)) for each in named)
        raise UserError(f"{only or 'nothing'} is the only corpus that is named; name several, e.g. crema-d,nemo.")
    found = loaded(named, data or {})
    map_.say_idle(found)
    parts = tuple(mapped(corpus, map_) for corpus in found.values())
    for part in parts:
        if part.corpus.clips.empty:
            raise UserError(f"{part.corpus.name} has no clip left after its labels are mapped; leave it out.")
    pooled = pool(parts)
    clips = repeated(pooled.clips) if balance else tuple(pooled.clips["clip"])
    fold = Fold(1, clips, (), ())
    version = "balanced" if balance else "1"
    split = Split(EVERYONE, "Every clip is for training.", None, None, (fold,), version)
    context = PooledContext(pooled, split, out, FeatureStores(cached=cache), parts=parts)
    spec = RunSpec.of(recipe, fold, seed)

    def check() -> None:
        for part in parts:
            check_usable(part.corpus, screen(part.corpus), max_excluded)

    wanted = {"balanced": balance, "normalised": False}
    runs = _runs_to_quote(quote, spec, [part.corpus.fingerprint for part in parts], wanted) if quote else None
    return deploy(spec, context, runs, epochs=epochs, check=check)


def _runs_to_quote(folder: Path, spec: RunSpec, fingerprints: Sequence[str], wanted: Mapping[str, bool]) -> RecipeRuns:
    """Cross-corpus runs of the recipe, after checking that recipe and sources are the same."""
    runs = read_runs(folder, {spec.folder}) if folder.is_dir() else []
    if not runs:
        raise UserError(
            f"{argument('quote', folder)} has no run of {spec.folder}; name the folder of results from the same "
            "corpora, OUT/TARGET/from-CORPORA."
        )
    (group,) = group_runs(runs)
    for run in group.runs:
        about = run.signature.get("crossing", {})
        sources = about.get("sources", [])
        if run.signature["identity"]["recipe"] != spec.hash:
            raise UserError(f"{argument('quote', folder)} is of another recipe; quote results of this recipe.")
        if sorted(each["mapped_fingerprint"] for each in sources) != sorted(fingerprints):
            raise UserError(f"{argument('quote', folder)} is of models that were trained on other corpora.")
        if other := next((name for name, value in wanted.items() if about.get(name, False) != value), None):
            was = "" if about.get(other) else "not "
            raise UserError(f"{argument('quote', folder)} is of models that were {was}{other}, unlike this one.")
    return group
