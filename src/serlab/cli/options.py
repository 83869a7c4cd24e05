"""Options that several commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from serlab.cli.command import After, Last
from serlab.core import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from serlab.core import Exclusion
    from serlab.corpora.base import Columns, Corpus
    from serlab.model.inputs import InputWarning
    from serlab.model.segments import SegmentOptions
    from serlab.recipes import Recipe
    from serlab.recipes.changes import Change

CorpusName = Annotated[
    str, typer.Argument(help="A known corpus (`serlab corpora`), or the path of a folder or table.", show_default=False)
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]FOLDER",
        help="Folder of a known corpus, if not in $SERLAB_DATA; may be repeated, with the corpus's name before it.",
    ),
]
Format = Annotated[str, typer.Option("--format", help="`table` or `json`.")]
Latex = Annotated[
    bool,
    typer.Option(
        "--latex",
        help="Also write the report's tables as LaTeX and CSV, a methods paragraph and BibTeX into its folder `paper`.",
    ),
]
Protocol = Annotated[
    str | None, typer.Option(help="How to split (`serlab protocols`); the corpus's default if omitted."), After("data")
]
ReportAudio = Annotated[str, typer.Option(help="The report's clips: `link`, `embed` or `none`.")]
Margin = Annotated[
    float,
    typer.Option(
        min=0.1, max=50, metavar="POINTS", help="Equivalence margin in UAR: choose it before you look at the figures."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change a setting: `training.epochs=3` of all recipes, `resnet18:training.epochs=3` of one."
    ),
]


Model = Annotated[
    str | None,
    typer.Option(
        help="Model folder: serlab's, or a transformers audio-classification checkpoint; or `owner/name` on the hub. "
        "The model that serlab ships, also called `box`, if omitted.",
        show_default=False,
    ),
]
Calibrated = Annotated[
    bool,
    typer.Option("--calibrated", help="Divide scores by the temperature that was fitted on the model's dev subset."),
]

AUDIO = ("link", "embed", "none")
FORMATS = ("table", "json")

_NAMED = re.compile(r"([a-z0-9][a-z0-9_.-]*)=(.+)", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]{1,30})(?: *- *([0-9]{1,30}))?")
_MOST_NUMBERS = 1000


def numbers(text: str, option: str) -> list[int]:
    """Parse ``1,3`` or ``1-3,5`` into numbers.

    >>> numbers("1-3,5", "--folds")
    [1, 2, 3, 5]
    """
    found: list[int] = []
    for part in words(text):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last - first >= _MOST_NUMBERS:
            raise UserError(f"{option} {text} must be whole numbers or ranges, separated by commas, e.g. 1-3,5.")
        found += range(first, last + 1)
    return found


def words(text: str) -> list[str]:
    """Parse ``a,b`` into words; a path may have a comma in it."""
    if "," in text and Path(text).exists():
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def changes_of(
    recipes: Sequence[str], settings: Sequence[str] | None, precision: str | None = None
) -> dict[str, list[Change]]:
    """Assign ``--set`` values: ``recipe:section.key=value`` is for that recipe, others for all that they affect.

    >>> {name: [change.text for change in each] for name, each in changes_of(["a", "b"], ["b:x.y=8", "x.z=3"]).items()}
    {'a': ['x.z=3'], 'b': ['x.y=8', 'x.z=3']}
    """
    from serlab.recipes import precision_change
    from serlab.recipes.changes import Change

    shares: dict[str, list[Change]] = {name: [] for name in recipes}
    for setting in settings or ():
        name, colon, rest = setting.partition(":")
        if colon and name in shares:
            shares[name].append(Change(rest, option=f"--set {setting}"))
        elif colon and "=" not in name:
            raise UserError(f"--set {setting}: {name} is not one of the recipes {', '.join(recipes)}.")
        else:
            for share in shares.values():
                share.append(Change(setting, shared=True, option=f"--set {setting}"))
    return {name: [*share, *precision_change(precision, f"--precision {precision}")] for name, share in shares.items()}


def check_choice(value: str | None, choices: tuple[str, ...], option: str) -> None:
    """Refuse an unknown value of an option."""
    if value is not None and value not in choices:
        raise UserError(f"{option} {value} is not one of {', '.join(choices)}.")


def say_left_out(excluded: Sequence[Exclusion]) -> None:
    """List on standard error what was left out, with the reasons."""
    from serlab.core.progress import say

    for entry in excluded:
        say(f"left out: {entry.path or entry.clip} ({entry.reason})")


def say_warnings(results: Iterable[object]) -> None:
    """List on standard error in which ways files are unlike the training clips."""
    from serlab.model.prediction import Prediction

    for found in results:
        if isinstance(found, Prediction):
            say_each(found.path, found.warnings)


def say_each(name: str | None, warnings: Iterable[InputWarning]) -> None:
    """List on standard error in which ways a sound is unlike the training clips."""
    from serlab.core.progress import say

    for warning in warnings:
        say(f"warning: {name} ({warning.code}): {warning.message}.")


def model_of(name: str | None) -> str:
    """The model that a command names; the shipped one, with a message, if it names none."""
    from serlab.core.progress import say_once
    from serlab.model.box import BOX

    if name is None:
        say_once("no --model given: using the model that serlab ships.")
    return BOX if name is None else name


def as_json(excluded: Sequence[Exclusion]) -> list[dict[str, str]]:
    """Left-out entries, for JSON."""
    return [{"path": entry.path or entry.clip, "reason": entry.reason} for entry in excluded]


def folders_of(data: Sequence[str] | None) -> dict[str, str]:
    """Parse ``--data`` values: corpus -> folder; the empty name stands for a folder without one.

    >>> folders_of(["crema-d=/data/C", "tess=T"])
    {'crema-d': '/data/C', 'tess': 'T'}
    """
    found: dict[str, str] = {}
    for value in data or ():
        match = None if Path(value).is_dir() else _NAMED.fullmatch(value)
        name, folder = (match[1], match[2]) if match else ("", value)
        if name in found:
            raise UserError(f"--data {value}: {name or 'a folder'} is given twice; give one folder per corpus.")
        found[name] = folder
    return found


def folder_of(data: Sequence[str] | None, corpus: str) -> Path | None:
    """The folder that ``--data`` gives for a command's only corpus; None if there is none."""
    folders = folders_of(data)
    other = next((name for name in folders if name not in ("", corpus)), None)
    if other is not None:
        raise UserError(f"--data {other}={folders[other]} is for {other}, but the corpus is {corpus}; leave it out.")
    if len(folders) > 1:
        raise UserError(f"--data gives two folders for {corpus}; give one.")
    return next((Path(folder) for folder in folders.values()), None)


def load(name: str, data: Sequence[str] | None, columns: Columns | None = None) -> Corpus:
    """Load the corpus that a command names."""
    from serlab.corpora import load_corpus

    return load_corpus(name, data=folder_of(data, name), columns=columns)


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Names of a table's columns."""

    path_column: Annotated[str | None, typer.Option(help="A table's column of file paths (default: path)."), Last()] = (
        None
    )
    label_column: Annotated[str | None, typer.Option(help="A table's column of labels (default: label)."), Last()] = (
        None
    )
    speaker_column: Annotated[
        str | None, typer.Option(help="A table's column of speakers (default: speaker, if there)."), Last()
    ] = None

    @property
    def columns(self) -> Columns | None:
        """The columns; None if none is named."""
        from serlab.corpora import Columns

        return Columns(**self.named) if self.named else None

    @property
    def named(self) -> dict[str, str]:
        """The names that were given, by what the columns hold."""
        names = {"path": self.path_column, "label": self.label_column, "speaker": self.speaker_column}
        return {key: name for key, name in names.items() if name is not None}


@dataclass(frozen=True, kw_only=True)
class DivisionOptions:
    """How recordings are divided into segments."""

    window: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Length of a segment, 0.1 to 60; that of a training clip if omitted."),
        Last(),
    ] = None
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="From segment to segment; a third of the default window, or at most 1 with --window, if omitted.",
        ),
        Last(),
    ] = None
    vad: Annotated[
        str | None,
        typer.Option(help="How to find speech: `silero` (extra vad; the default if installed), `energy` or `none`."),
        Last(),
    ] = None
    smoothing: Annotated[
        str | None,
        typer.Option(
            metavar="SEGMENTS",
            help="Median over this many segments, odd; or `hmm`, which looks 10 segments ahead; off if omitted.",
        ),
        Last(),
    ] = None
    stay: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="For hmm: probability that the next segment has the same emotion; 0.9 per second of hop.",
        ),
        Last(),
    ] = None

    @property
    def division(self) -> SegmentOptions:
        """The options that were given."""
        size = self.smoothing
        smoothing = int(size) if size is not None and size.isdecimal() else size
        given = {"window": self.window, "hop": self.hop, "vad": self.vad, "smoothing": smoothing, "stay": self.stay}
        return cast("SegmentOptions", {name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class CorpusOptions(ColumnOptions):
    """A corpus, and the columns of its table."""

    corpus: CorpusName
    data: Data = None

    def load(self) -> Corpus:
        """Load it."""
        return load(self.corpus, self.data, self.columns)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(CorpusOptions):
    """Options that ``compare`` and ``train`` share."""

    protocol: Protocol = None
    out: Annotated[Path, typer.Option(help="Folder of results."), After("protocol")] = Path("runs")
    dev_only: Annotated[
        bool, typer.Option("--dev-only", help="Develop: never predict the test subset."), After("out")
    ] = False
    settings: Annotated[Settings, After("dev_only")] = None
    precision: Annotated[
        str | None, typer.Option(help="`auto` (bf16 if it is faster), `fp32` or `bf16`."), After("settings")
    ] = None
    max_excluded: Annotated[
        float,
        typer.Option(min=0, max=1, help="Largest share of clips that may be left out; above it, nothing is run."),
        After("precision"),
    ] = 0.05
    cache: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep features on disk (`serlab cache show`); results are the same."),
        After("max_excluded"),
    ] = True

    def variants(self, names: Sequence[str]) -> list[Recipe]:
        """Load recipes with their settings."""
        from serlab.recipes import load_variant

        if self.settings and not names:
            raise UserError(
                f"--set {self.settings[0]} changes a recipe before its training, but only finished models are named; "
                "leave it out."
            )
        changes = changes_of(names, self.settings, self.precision)
        return [load_variant(name, changes[name]) for name in names]
