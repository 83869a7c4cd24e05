"""Models that are tested as they are: serlab's model folders, and audio classifiers of transformers.

Nothing is trained. The results of a target are in ``<out>/<target>/as-is/<model>-<first 6 of its hash>``.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serlab import __version__
from serlab.approaches.base import Fitted
from serlab.checkpoints.weights import BOX, find, public_name
from serlab.core import UserError, argument
from serlab.core.files import sha256_file, sha256_json
from serlab.core.locks import locked
from serlab.corpora.emotions import LabelMap, Mapped
from serlab.experiments import heard
from serlab.experiments.context import RunContext, RunIdentity
from serlab.experiments.crossing_runs import overlap, predict, side_of, write
from serlab.experiments.crossing_sides import target_fold
from serlab.experiments.held_out import heard_clip
from serlab.experiments.layout import AS_IS, RunFiles
from serlab.experiments.signature import ExclusionRecord, Machine, ProtocolRecord, StoredSignature
from serlab.model import folder as folders
from serlab.model.schema import FILE, Content
from serlab.protocols import Fold, Split
from serlab.recipes import preset_names
from serlab.tables import ledger

CAUTION = "The record of its training is missing: it may have been trained on these speakers or recordings."
_DEFINITION = "A finished model, without any training. Tested once on all clips of {target} whose emotions both have."


@dataclass(frozen=True)
class GivenModel:
    """A finished model.

    Attributes:
        folder: its folder.
        name: the folder's name, or the hub's.
        hash: SHA-256 over its files.
        fitted: the model.
        emotions: emotion of each of its labels.
        records: what it has heard; see :mod:`serlab.tables.heard`.
        title: its title.
        named: hash of the labels that it answers with, if they are a corpus's instead of emotions.
    """

    folder: Path
    name: str
    hash: str
    fitted: Fitted
    emotions: Mapping[str, str | None]
    records: list[dict[str, Any]]
    title: str
    named: str = ""

    @property
    def known(self) -> bool:
        """Whether it says what it has heard; its pretrained weights may not."""
        return all(each.get("corpus") for each in self.records if each["what"] == self._itself)

    @property
    def caution(self) -> str:
        """What is not known about its training; empty if all is."""
        if not self.known:
            return CAUTION
        unknown = [
            str(each["what"]).removeprefix(f"{self._itself}: ") for each in self.records if not each.get("corpus")
        ]
        return f"There is no record of what these have heard: {', '.join(dict.fromkeys(unknown))}." if unknown else ""

    @property
    def _itself(self) -> str:
        return f"the model {self.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Its emotions."""
        return tuple(sorted({emotion for emotion in self.emotions.values() if emotion is not None}))

    @property
    def subfolder(self) -> str:
        """Name of its results folder."""
        return f"{self.name.replace('/', '--')}-{self.run_hash[:6]}"

    @property
    def run_hash(self) -> str:
        """What stands for a recipe's hash in the identity of its runs."""
        return sha256_json([self.hash, self.named]) if self.named else self.hash


def is_model(name: str) -> bool:
    """Whether the name of a recipe is that of a model: a folder, a hub's ``owner/name``, or ``box``.

    A folder with the name of a preset, such as one of results, does not hide the preset.
    """
    path = Path(name)
    return name not in preset_names() and (
        name == BOX or path.is_dir() or (name.count("/") == 1 and not name.startswith((".", "/")) and not path.suffix)
    )


def load_given(name: str, labels: LabelMap, precision: str = "auto") -> GivenModel:
    """Load a model and map its labels.

    Args:
        name: its folder, or the hub's ``owner/name``.
        labels: the map of labels.
        precision: of predictions.

    Raises:
        UserError: there is no such model, or a label is not known, e.g. ``LABEL_3``.
    """
    folder = Path(name) if name != BOX and Path(name).is_dir() else find(name)
    shown = public_name(name)
    fitted = folders.load(folder, precision)
    own = (folder / FILE).is_file()
    return GivenModel(
        folder=folder,
        name=shown,
        hash=_hash(folder),
        fitted=fitted,
        emotions={label: _emotion(label, shown, labels) for label in fitted.labels},
        records=heard.records_of(folder, f"the model {shown}"),
        title=f"{Content.read(folder).recipe.title} ({shown})" if own else shown,
    )


def _emotion(label: str, name: str, labels: LabelMap) -> str | None:
    try:
        return labels.emotion(label, name)
    except UserError as error:
        if label.upper().startswith("LABEL_"):
            raise UserError(
                f"the model {name} calls a label {label}, which does not say what it means; look it up in the "
                f"model's documentation and map all of them in a YAML file for {argument('labels')}, e.g. the line "
                f"'{label}: sad'."
            ) from error
        raise


def _hash(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin"))
    return sha256_json([[path.name, sha256_file(path)] for path in files])


@dataclass(frozen=True)
class GivenRun:
    """A finished model on one target, or on the test subset of a fold.

    Attributes:
        model: the model.
        context: of the target.
        target: the target, reduced to the common emotions; or the corpus with its own labels.
        fold: the clips to test.
    """

    model: GivenModel
    context: RunContext
    target: Mapped
    fold: Fold

    @property
    def files(self) -> RunFiles:
        """The files of the run."""
        return self.context.results.files(self.model.subfolder, f"fold{self.fold.number}-seed0")

    @property
    def identity(self) -> RunIdentity:
        """The identity of the run."""
        split = self.context.split
        return RunIdentity(
            self.model.run_hash,
            self.target.corpus.fingerprint,
            split.name,
            split.version,
            self.fold.number,
            0,
            self.model.fitted.precision,
        )

    @property
    def done(self) -> bool:
        """Whether the results exist.

        Raises:
            UserError: the folder has a run of another configuration.
        """
        if not self.files.signature.is_file():
            return False
        StoredSignature.read(self.files.signature).check_identity(self.identity.data(), free={"precision"})
        return self.files.table.is_file()


def given_split(model: GivenModel, target: Mapped) -> Split:
    """All clips of a target; the version stands for the map of the model's labels."""
    return Split(
        name=AS_IS,
        definition=_DEFINITION.format(target=target.corpus.name),
        speaker_disjoint=True if model.known and target.corpus.speakers_known else None,
        sentence_disjoint=None,
        folds=(target_fold(target),),
        version=f"x-{sha256_json([dict(model.emotions), target.corpus.labels])[:12]}",
    )


def heard_target(model: GivenModel, target: Mapped) -> str:
    """Why a model cannot be tested on a target; empty if it can, or if nothing is known of its training."""
    return overlap(model.records, target) or heard_clip(model.folder, target.original, target_fold(target))


def test_given(each: GivenRun) -> None:
    """Predict a target, unless the results exist."""
    if each.done:
        return
    model, context, target = each.model, each.context, each.target
    started = ledger.now()
    with locked(each.files.model):
        names = {"corpus": target.corpus.name, "fingerprint": target.corpus.fingerprint, "recipe": model.subfolder}
        entry: dict[str, Any] = {**each.identity.data(), **names, "hash": model.run_hash, "side": "test"}
        entry |= {"smoke": True} if target.corpus.smoke else {}
        title = f"{model.name} on {target.corpus.name}"
        title += f" fold {each.fold.number}" if model.named else ""
        table = predict(context, model.fitted, model.emotions, entry, title, fold=each.fold)
        write(each.files, table, _signature(each, started), title)


def _signature(each: GivenRun, started: str) -> dict[str, Any]:
    model, context, target = each.model, each.context, each.target
    (total, _), tested = model.fitted.parameters, {*each.fold.test}
    about: dict[str, Any] = {"model_emotions": dict(model.emotions), "caution": model.caution}
    if not model.named:
        about = {"crossing": {"sources": [], **about, "target": side_of(target), "labels": list(target.corpus.labels)}}
    else:
        about = {"given": about}
    return {
        "serlab": __version__,
        "identity": each.identity.data(),
        "recipe": {
            "name": model.subfolder,
            "title": model.title,
            "hash": model.run_hash,
            "pretrained": model.name,
            "config": {},
        },
        "weights_sha256": model.hash,
        "corpus": context.corpus.described(),
        "protocol": asdict(ProtocolRecord.of(context.split)),
        "fold": each.fold.number,
        "seed": 0,
        "precision": model.fitted.precision,
        "sides": ["test"],
        "training": {"epochs": [], "selection": "", "train_uar": None},
        "cost": {"parameters": total, "trained_parameters": 0},
        "heard": model.records,
        "exclusions": [
            asdict(ExclusionRecord(e.clip, e.path, e.reason, each.fold.number, "test"))
            for e in context.exclusions
            if e.clip in tested
        ],
        "versions": {"python": platform.python_version()},
        "machine": asdict(Machine.here()),
        "started": started,
        "finished": ledger.now(),
        **about,
    }
