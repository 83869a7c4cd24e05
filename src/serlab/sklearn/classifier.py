"""A scikit-learn classifier that trains a recipe."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import yaml
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from serlab import approaches
from serlab.checkpoints.checks import check_labels
from serlab.core import SerlabError, UserError, argument, setting
from serlab.core.settings import plain
from serlab.corpora.base import Corpus
from serlab.model.model import Model
from serlab.protocols.generic import hold_out
from serlab.recipes import Recipe, load_variant, precision_change, with_changes
from serlab.recipes.changes import Change
from serlab.recipes.recipe import SECTIONS
from serlab.sklearn.inputs import InputError, as_files, clips_of
from serlab.sklearn.kept import KeptModel


class GroupsWarning(UserWarning):
    """The clips that a fit holds out are not of other speakers, because these are unknown."""


class SpeechEmotionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train a recipe, and predict the emotion of clips.

    X is a list of paths, of arrays or of :class:`serlab.audio.Audio`, a column of paths of a
    DataFrame, or a matrix whose rows are clips of equal length. Arrays need ``sample_rate``.

    Settings of the recipe are parameters too, with double underscores:
    ``set_params(training__epochs=3)``, as in a grid search.

    Networks and probes choose their epoch or layer on a dev subset: ``dev_size`` of the groups
    given to :meth:`fit`, which are not trained on. Without groups, it consists of clips, whose
    speakers may also be in the training clips; the choice is then too optimistic. Support vector
    machines train on all clips, and choose their settings on inner folds of the groups.

    Args:
        recipe: name of a preset, path of a YAML file, or a recipe.
        settings: changes of the recipe, e.g. ``{"training.epochs": 3}``.
        sample_rate: of arrays, in Hz.
        dev_size: share of the groups (or clips) in the dev subset, 0 to 0.5. With 0, a network is
            trained on all clips to its last epoch; a probe needs a dev subset.
        random_state: the seed, 0 or above.
        precision: of training and prediction: ``auto``, ``fp32`` or ``bf16``; the recipe's own and
            ``auto`` if None.
        cache: keep features on disk, so that a grid search computes them once.

    Attributes:
        classes_: the labels, sorted, shape (labels,).
        model_: the :class:`serlab.Model`, with labels as text. Its ``folder`` is temporary; copy it
            to keep the model.

    >>> SpeechEmotionClassifier("resnet18").set_params(training__epochs=3).settings
    {'training.epochs': 3}
    """

    # With metadata routing, groups reach fit without set_fit_request.
    __metadata_request__fit = {"groups": True}  # noqa: RUF012 (scikit-learn reads this name)

    def __init__(
        self,
        recipe: str | Recipe = "mfcc-svm",
        *,
        settings: Mapping[str, Any] | None = None,
        sample_rate: int | None = None,
        dev_size: float = 0.2,
        random_state: int = 0,
        precision: str | None = None,
        cache: bool = True,
    ) -> None:
        self.recipe = recipe
        self.settings = settings
        self.sample_rate = sample_rate
        self.dev_size = dev_size
        self.random_state = random_state
        self.precision = precision
        self.cache = cache

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name.

        Args:
            deep: include changed settings of the recipe, as ``training__epochs``.
        """
        found: dict[str, Any] = super().get_params(deep=False)
        if deep and isinstance(self.settings, Mapping):
            found |= {path.replace(".", "__"): value for path, value in self.settings.items()}
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters and settings of the recipe, such as ``training__epochs``.

        Raises:
            ValueError: there is no such parameter. Unknown settings of the recipe are found by
                :meth:`fit`.
        """
        own = {name: value for name, value in params.items() if name.partition("__")[0] not in SECTIONS}
        super().set_params(**own)
        changed = {name.replace("__", "."): value for name, value in params.items() if name not in own}
        if changed:
            self.settings = {**(self.settings if isinstance(self.settings, Mapping) else {}), **changed}
        return self

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train the recipe.

        Args:
            X: the clips, 0.1 to 60 s each. A clip that cannot be used is an error.
            y: label of each clip, of any type that scikit-learn accepts; at least two labels.
            groups: speaker of each clip.

        Returns:
            The classifier.

        Raises:
            SerlabError: X, y, groups or a parameter cannot be used (a :class:`ValueError` too, if it
                is about X, y or groups), or training fails.
        """
        if y is None:
            raise InputError("requires y to be passed, but the target y is None; expected a label for each clip.")
        recipe = self._recipe()
        y = self._checked(X, y, groups)
        classes, targets = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"y has only 1 class, {classes[0]}; a classifier needs at least two.")
        with as_files(X, self.sample_rate) as clips, tempfile.TemporaryDirectory(prefix="serlab-") as workspace:
            # Training imports torch, which a classifier without a network needs only here.
            from serlab.sklearn import fitting

            corpus = fitting.corpus_of(clips, _names(classes), targets, groups)
            dev = self._dev(recipe, corpus)
            kept = KeptModel(self.precision or "auto")
            seed, home = int(self.random_state), Path(workspace)
            fitting.train(recipe, corpus, dev, kept.folder, seed=seed, cache=self.cache, workspace=home)
        self.classes_, self._kept = classes, kept
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each clip, shape (clips,).

        Args:
            X: the clips. Of a recording over 30 s, the mean over its segments with speech counts.

        Raises:
            SerlabError: a clip cannot be used, or is silent or without speech, so that no label
                would be right.
        """
        places = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each label for each clip, shape (clips, labels), in the order of ``classes_``.

        Raises:
            SerlabError: as for :meth:`predict`.
        """
        check_is_fitted(self)
        clips = clips_of(X, self.sample_rate)
        rows: list[list[float]] = []
        for chunk in self.model_.results(clips, self.sample_rate):
            for result in chunk:
                if isinstance(result, UserError):
                    raise InputError(f"X[{len(rows)}]: {result}") from result
                if not result.probabilities:
                    raise InputError(f"X[{len(rows)}]: no speech, so it has no label; leave it out.")
                rows.append(list(result.probabilities.values()))
        return np.array(rows, np.float64)

    @property
    def model_(self) -> Model:
        """The fitted model."""
        check_is_fitted(self)
        return self._kept.model

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may give to it."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = tags.input_tags.string = True
        return tags

    def _recipe(self) -> Recipe:
        """The recipe with all changes."""
        if self.settings is not None and not isinstance(self.settings, Mapping):
            raise UserError(f"{argument('settings', self.settings)} is not a dictionary of settings and values.")
        if not isinstance(self.recipe, (str, Recipe)):
            raise UserError(f"{argument('recipe', self.recipe)} is neither the name of a recipe nor a Recipe.")
        changes = [Change(f"{path}={_text(path, value)}") for path, value in (self.settings or {}).items()]
        changes += precision_change(self.precision)
        given = self.recipe
        recipe = with_changes(given, changes) if isinstance(given, Recipe) else load_variant(given, changes)
        if recipe.training.teacher:
            raise UserError(f"{recipe.name} has {setting('training.teacher')}, which needs a comparison; omit it here.")
        return recipe

    def _checked(self, X: Any, y: ArrayLike, groups: ArrayLike | None) -> NDArray[Any]:
        """The labels, after checking parameters and shapes."""
        if not 0 <= self.dev_size <= 0.5:
            raise UserError(f"{argument('dev_size', self.dev_size)} is not between 0 and 0.5.")
        if not isinstance(self.random_state, (int, np.integer)) or not 0 <= self.random_state < 2**32:
            raise UserError(f"{argument('random_state', self.random_state)} is not a whole number from 0 to 2**32 - 1.")
        try:
            checked: NDArray[Any] = column_or_1d(y, warn=True)
            if pd.Series(checked).isin([np.inf, -np.inf]).any() or pd.isna(pd.Series(checked)).any():
                raise InputError("Input y contains NaN or infinity; expected a label for each clip.")
            check_classification_targets(checked)
            check_consistent_length(clips_of(X, self.sample_rate), checked, groups)
        except SerlabError:
            raise
        except (ValueError, TypeError) as error:
            raise InputError(f"{str(error).rstrip('.')}.") from error
        return checked

    def _dev(self, recipe: Recipe, corpus: Corpus) -> list[str]:
        """Clips of the dev subset; none if the recipe needs none."""
        supports = approaches.get(recipe.model.kind).supports
        needed = supports.epochs or supports.dev
        if not corpus.speakers_known and (self.dev_size or not needed):
            _warn_of_clips()
        if not needed:
            return []
        if not self.dev_size:
            if supports.dev:
                raise UserError(f"{recipe.name} makes its choices on a dev subset; set {argument('dev_size')} above 0.")
            return []
        clips = corpus.clips
        unit = clips["speaker" if corpus.speakers_known else "clip"]
        counts = pd.crosstab(unit, clips["label"])
        if len(counts) < 2:
            raise InputError("groups has only one value; a dev subset needs a second one, or set dev_size=0.")
        chosen = unit.isin(hold_out(counts, max(2, round(1 / self.dev_size))))
        lost = sorted(set(corpus.labels) - set(clips.loc[~chosen, "label"]))
        if lost:
            raise InputError(
                f"without the dev subset, the label {lost[0]} has no training clip; give more "
                f"{'groups' if corpus.speakers_known else 'clips'}, or set dev_size=0."
            )
        return clips.loc[chosen, "clip"].tolist()


@cache
def _warn_of_clips() -> None:
    """Warn once per process; scikit-learn's tools reset Python's own memory of warnings."""
    warnings.warn(
        "fit got no groups, so its inner folds are by clip, and the same speaker may be on both sides; give the "
        "speaker of each clip as groups.",
        GroupsWarning,
        stacklevel=4,
    )


def _names(classes: NDArray[Any]) -> tuple[str, ...]:
    """Labels of the model, from those of y; numbered if their text is not a name."""
    names = tuple(str(value) for value in classes)
    try:
        check_labels("y", names)
    except UserError:
        return tuple(f"class {place}" for place in range(len(classes)))
    return names


def _text(path: str, value: Any) -> str:
    """A setting in YAML."""
    text: str = yaml.safe_dump(_data(path, plain(value)), default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("...").strip()


def _data(path: str, value: Any) -> Any:
    """A setting as YAML can hold it."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return [_data(path, item) for item in value]
    if isinstance(value, dict):
        return {key: _data(path, item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UserError(f"{argument('settings', path)} is a {type(value).__name__}; give a number, a text or a list.")
