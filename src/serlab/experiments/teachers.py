"""Teachers of a run: their models, trained first if they are missing, and their scores of the training clips.

A teacher is a run of another recipe on the same corpus, protocol and fold, so it has heard the
training speakers alone; it chooses its own epoch or settings on the fold's dev subset. A model
folder that a comparison kept is used; otherwise the teacher is trained and kept here:

    <out>/<corpus>/<protocol>/teachers/<recipe>/fold<k>-seed<s>/           the model folder
                                                fold<k>-seed<s>-half<h>/   of one half of the training speakers

Scores are cached with the features, by the teacher's weights and settings, the labels, the recording and the view.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Fixed, Subset
from serlab.audio.augment import View
from serlab.checkpoints.weights import find, identity, public_name
from serlab.core import UserError, argument, setting
from serlab.core.files import read_json, sha256_file, sha256_json
from serlab.core.locks import locked
from serlab.core.precision import resolve
from serlab.core.progress import say
from serlab.core.randomness import keyed
from serlab.experiments.context import RunContext, RunIdentity, RunSpec
from serlab.experiments.heard import before, check, records_of, speakers_of
from serlab.experiments.held_out import check_held_out
from serlab.experiments.layout import EVERYONE, RunFiles
from serlab.experiments.records import Taught, TeacherModel, TeacherRecord
from serlab.experiments.reduced import smoke_recipe
from serlab.experiments.run import run, run_on_everyone
from serlab.experiments.scorer import Scorer
from serlab.experiments.signature import sign
from serlab.experiments.speech import unlabelled_of
from serlab.model.card import deployment_card, model_card
from serlab.model.folder import save
from serlab.model.schema import FILE
from serlab.protocols import Fold
from serlab.recipes import Recipe, Teacher, identify, teacher_of
from serlab.tables import ledger
from serlab.training.encoder_folder import heard_by
from serlab.training.lesson import Lesson
from serlab.training.states import ENCODERS, StateLesson, StateSource, no_encoder, prepare

_PLAIN = View()
_FOLDER = "teachers"
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class TeacherIdentity(RunIdentity):
    """The identity of a teacher's model.

    Attributes:
        half: the half of the training speakers that it was trained on; None if on all.
        fixed: choices made on the dev subsets of other runs, for a model of all speakers.
    """

    half: int | None = None
    fixed: Fixed | None = None

    def data(self) -> dict[str, Any]:
        """As in the signature; a run of a comparison has neither half nor fixed choices."""
        data = {name: value for name, value in super().data().items() if name != "half" or value is not None}
        return {name: value for name, value in data.items() if name != "fixed"} if self.fixed is None else data


@dataclass(frozen=True)
class Part:
    """Training clips that the same models teach.

    Attributes:
        half: the half of the speakers that their models were trained on; None if on all.
        fold: the fold that the models are trained on.
        clips: ids of the clips to teach.
    """

    half: int | None
    fold: Fold
    clips: tuple[str, ...]


def teach(spec: RunSpec, context: RunContext, title: str, fixed: Fixed | None = None) -> Taught | None:
    """Let a run's teachers score its training clips; train those that are missing.

    Args:
        spec: the run.
        context: what it shares with other runs.
        title: label of progress bars.
        fixed: for a model of all speakers: the teachers' choices on the dev subsets of other runs.

    Returns:
        The lesson and who teaches it; None if the recipe has no teacher, or its weights are 0.

    Raises:
        UserError: a teacher cannot be trained on this fold, or its folder has another model.
        FindingsError: a teacher's training diverged, or its scores are not finite.
        MachineError: weights, disk or network fail.
    """
    recipe, settings = teacher_of(spec.recipe), spec.recipe.training.teacher
    if settings is None or settings.silent:
        return None
    if settings.shows_states and recipe and recipe.model.kind not in ENCODERS:
        raise no_encoder(recipe.name, recipe.model.kind)
    if recipe and context.corpus.smoke:
        recipe = smoke_recipe(recipe)
    train = Subset.of(context.corpus, spec.fold.train, context.excluded)
    views = _views(spec) if settings.views == "same" else (_PLAIN,)
    speech = unlabelled_of(spec, context)
    heard, recordings = [each.record for each in speech], [each.speech for each in speech]
    check(heard, spec, context)
    for each in _recipes(recipe):
        # A cross-fitted teacher's own fold has no test subset.
        check_held_out(each, context.corpus, spec.fold)
        check(before(replace(spec, recipe=each)), spec, context)
    extra = tuple(file for each in speech for file in each.files)
    # A clip that is repeated in training is taught once.
    unique = dict.fromkeys([*train.clips["clip"], *(file.clip for file in extra)])
    place = {clip: number for number, clip in enumerate(unique)}
    logits = np.zeros((len(views), len(place), len(context.corpus.labels)), np.float32)
    models, seconds, used = [], 0.0, False
    sources = [*_sources(spec, recipe, train, context, title, fixed)]
    for source in sources:
        used |= any(overlap.allowed for overlap in check(source.heard, spec, context))
        models.append(source.model)
        heard += source.heard
        recordings += heard_by(source.folder) or []
        scorer = Scorer(source.folder, source.model, context, f"{title}: scores of {source.what}")
        # All models teach the clips without labels, which none has heard.
        tasks = [(Subset.of(context.corpus, source.clips).files, len(settings.seeds)), (extra, len(sources))]
        for number, view in enumerate(views):
            for files, times in tasks:
                if files:
                    scores, took = scorer.scores(files, view, spec.seed)
                    logits[number, [place[file.clip] for file in files]] += scores / times
                    seconds += took
    states = _states(spec, sources, context) if settings.shows_states else None
    if states:
        files = (*train.files, *extra)
        seconds += prepare(states, files, _views(spec), spec.seed, f"{title}: states of the teacher")
    trained = round(sum(model.train_seconds for model in models), 2)
    record = TeacherRecord(*_called(recipe, settings), models, trained, round(seconds, 2), used)
    lesson = Lesson(tuple(place), views, logits, settings.temperature, settings.weight, extra, states)
    return Taught(lesson, record, heard, recordings)


def _states(spec: RunSpec, sources: Sequence[Source], context: RunContext) -> StateLesson:
    """The states of the first seed's models."""
    settings = spec.recipe.training.teacher
    assert settings is not None
    first = [source for source in sources if source.model.seed in (None, settings.seeds[0])]
    encoders = [
        StateSource.of(source.folder, source.model.precision, settings.states, cached=context.stores.cached)
        for source in first
    ]
    taught = [frozenset(source.clips) for source in first]
    return StateLesson(tuple(encoders), tuple(taught), settings.states_weight, settings.views == "same")


@dataclass(frozen=True)
class Source:
    """One model of a teacher.

    Attributes:
        what: its name in messages and records.
        folder: its folder.
        model: what its signature says.
        heard: what it has heard.
        clips: ids of the clips that it teaches.
    """

    what: str
    folder: Path
    model: TeacherModel
    heard: list[dict[str, Any]]
    clips: tuple[str, ...]


def _sources(
    spec: RunSpec, recipe: Recipe | None, train: Subset, context: RunContext, title: str, fixed: Fixed | None
) -> Iterator[Source]:
    """The models of a teacher; those of a recipe are trained if they are missing."""
    settings = spec.recipe.training.teacher
    assert settings is not None
    if recipe is None:
        folder, what = find(settings.checkpoint), f"the teacher {public_name(settings.checkpoint)}"
        if not (folder / FILE).is_file():
            say(
                f"{title}: it is unknown what {what} has heard; if it has heard dev or test speakers of the fold, "
                "scores on them are too high."
            )
        heard = records_of(folder, what)
        yield Source(what, folder, _record(folder, None, None, heard), heard, tuple(dict.fromkeys(train.clips["clip"])))
        return
    for part in _parts(spec.fold, train, crossfit=settings.crossfit):
        for seed in settings.seeds:
            what = f"the teacher {recipe.name} (seed {seed})"
            teacher = RunSpec.of(recipe, part.fold, seed)
            which = f"{recipe.name} seed {seed}" + ("" if part.half is None else f" half {part.half}")
            folder = _model(teacher, context, part.half, f"{title}: teacher {which}", fixed)
            heard = records_of(folder, what)
            if heard[0]["train"] is None and context.corpus.speakers_known:
                # A model of an older version kept no record, but its identity is that of this fold.
                speakers = speakers_of(part.fold, context)
                heard[0] |= {"train": speakers["train"], "dev": speakers["dev"]}
            yield Source(what, folder, _record(folder, seed, part.half, heard), heard, part.clips)


def _recipes(recipe: Recipe | None) -> Iterator[Recipe]:
    """A teacher's recipe, and those of its own teachers."""
    while recipe is not None:
        yield recipe
        recipe = teacher_of(recipe)


def _called(recipe: Recipe | None, settings: Teacher) -> tuple[str, str, str]:
    """Name, title and hash of a teacher."""
    if recipe is None:
        name = public_name(settings.checkpoint)
        return name, name, identity(find(settings.checkpoint))
    recipe_hash, _ = identify(recipe)
    return recipe.folder(recipe_hash), recipe.title, recipe_hash


def _views(spec: RunSpec) -> tuple[View, ...]:
    return spec.recipe.augmentation.views or (_PLAIN,)


def _parts(fold: Fold, train: Subset, *, crossfit: bool) -> Iterator[Part]:
    """All training clips; with ``crossfit``, the clips of each half of the speakers, taught by the other half."""
    clips = tuple(train.clips["clip"])
    if not crossfit:
        yield Part(None, fold, tuple(dict.fromkeys(clips)))
        return
    speaker_of = dict(zip(clips, train.clips["speaker"], strict=True))
    first = first_half(speaker_of.values())
    halves = {1: [], 2: []}  # type: dict[int, list[str]]
    for clip in clips:
        halves[1 if speaker_of[clip] in first else 2].append(clip)
    for half, other in ((1, 2), (2, 1)):
        yield Part(half, replace(fold, train=tuple(halves[half]), test=()), tuple(dict.fromkeys(halves[other])))


def first_half(speakers: Any) -> frozenset[str]:
    """Half of the speakers, drawn by their names alone.

    Raises:
        UserError: there is only one speaker.

    >>> len(first_half(["a", "b", "c", "a"]))
    1
    """
    names = sorted({*speakers})
    if len(names) < 2:
        raise UserError(
            f"{setting('training.teacher.crossfit')} needs two training speakers or more; the fold has {len(names)}."
        )
    order = keyed("crossfit", *names).permutation(len(names))
    return frozenset(names[place] for place in order[: len(names) // 2])


def _model(spec: RunSpec, context: RunContext, half: int | None, title: str, fixed: Fixed | None) -> Path:
    """The folder of a teacher's model; it is trained if it does not exist."""
    everyone = context.split.name == EVERYONE
    own = TeacherIdentity(**vars(context.identity(spec)), half=half, fixed=(fixed or Fixed()) if everyone else None)
    stem = f"seed{spec.seed}" if everyone else spec.stem
    kept = context.results.files(spec.folder, stem).model
    if half is None and _is_there(kept, spec, own):
        return kept
    name = stem if half is None else f"{stem}-half{half}"
    files = context.results.files(f"{_FOLDER}/{spec.folder}", name)
    with locked(files.model, wait=True):
        if not _is_there(files.model, spec, own):
            if files.model.exists():
                raise UserError(
                    f"{files.model} has a teacher of another configuration; move it away, or choose another "
                    f"{argument('out')} folder."
                )
            _train(spec, context, own, files, title)
    return files.model


def _train(spec: RunSpec, context: RunContext, identity: TeacherIdentity, files: RunFiles, title: str) -> None:
    say(f"{title}: it is trained first")
    started, workspace = ledger.now(), files.open_workspace(identity.data())
    if identity.fixed is None:
        taught = teach(spec, context, title)
        result = run(spec, context, workspace=workspace, title=title, before_test=None, taught=taught)
    else:
        taught = teach(spec, context, title, Fixed())
        result = run_on_everyone(spec, context, identity.fixed, workspace=workspace, title=title, taught=taught)
    signature = sign(spec, context, result, started, identity).data()
    card = model_card if identity.fixed is None else deployment_card
    save(
        result.fitted,
        files.model,
        signature,
        card(signature, needs_serlab=result.fitted.needs_serlab),
        speech=result.speech,
    )
    shutil.rmtree(workspace, ignore_errors=True)


def _is_there(folder: Path, spec: RunSpec, identity: TeacherIdentity) -> bool:
    """Whether a folder holds the model of an identity."""
    if not (folder / FILE).is_file():
        return False
    there, wanted = _signature(folder)["identity"], identity.data()
    free = {"precision"} if spec.recipe.training.precision == "auto" else set()
    if identity.half is None and there.get("half") is not None:
        return False
    return all(there.get(name) == value for name, value in wanted.items() if name not in free)


def _signature(folder: Path) -> Mapping[str, Any]:
    signature: Mapping[str, Any] = read_json(folder / FILE)["signature"]
    return signature


def _record(folder: Path, seed: int | None, half: int | None, heard: Sequence[Mapping[str, Any]]) -> TeacherModel:
    if not (folder / FILE).is_file():
        return TeacherModel(seed, half, identity(folder), resolve("auto"), None, None, 0.0, {})
    signature = _signature(folder)
    weights = [[str(path.relative_to(folder)), sha256_file(path)] for path in sorted(folder.rglob("*.safetensors"))]
    training, cost, own = signature["training"], signature["cost"], signature.get("teacher") or {}
    return TeacherModel(
        seed=seed,
        half=half,
        sha256=sha256_json([signature["recipe"]["hash"], weights]),
        precision=signature["precision"],
        speakers=_speakers(heard),
        parameters=cost["parameters"],
        train_seconds=cost["train_seconds"] + own.get("train_seconds", 0.0),
        training={name: training[name] for name in ("best_epoch", "selection", "chosen") if name in training},
    )


def _speakers(heard: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The speakers that a teacher was trained on, after their corpus if it was trained on several."""
    own = [each for each in heard if each["what"] == heard[0]["what"]]
    if len(own) == 1 or any(each["train"] is None for each in own):
        return own[0]["train"] if len(own) == 1 else None
    return [f"{each['corpus']}/{speaker}" for each in own for speaker in each["train"]]


def choices_of(signatures: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What the teachers of runs chose on their dev subsets, one entry per model."""
    return [
        model["training"] for signature in signatures for model in (signature.get("teacher") or {}).get("models", [])
    ]
