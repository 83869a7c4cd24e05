"""``serlab compare`` and ``serlab train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from serlab.cli import options
from serlab.progress import say

if TYPE_CHECKING:
    from serlab.comparison import Comparison
    from serlab.report.render import Audio


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(compare)
    app.command()(train)


def compare(
    corpus: options.CorpusName = "synthetic",
    recipes: Annotated[
        str, typer.Option(help="Presets or YAML files, with commas between (`serlab recipes`).")
    ] = "wav2vec2-tiny,resnet18-small,mfcc-svm",
    data: options.Data = None,
    protocol: options.Protocol = None,
    folds: Annotated[str, typer.Option(help="Folds to run, e.g. `1,3`; all if absent.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds to run, e.g. `0,1,2`.")] = "0",
    out: options.Out = Path("runs"),
    dev_only: Annotated[bool, typer.Option("--dev-only", help="Develop: never predict the test side.")] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep each run's model folder.")] = False,
    settings: options.Settings = None,
    precision: options.Precision = None,
    max_excluded: options.MaxExcluded = 0.05,
    audio: Annotated[str, typer.Option(help="The report's clips: `link`, `embed` or `none`.")] = "link",
    cache: options.Cache = True,
    jobs: Annotated[
        int, typer.Option(help="Runs at once, sharing the cores: for small networks and SVMs, which cannot use all.")
    ] = 1,
    path_column: options.PathColumn = "path",
    label_column: options.LabelColumn = "label",
    speaker_column: options.SpeakerColumn = None,
) -> None:
    """Compare recipes on the same folds; prints the path of the report.

    What is there already is not done again, and an interrupted comparison goes on where it stopped.

    Examples:
        serlab compare                                     # the synthetic corpus, offline, a few minutes

        serlab compare crema-d --data CREMA-D --recipes resnet18,wav2vec2-base --seeds 0,1,2

        serlab compare crema-d --recipes resnet18,wav2vec2-base --set wav2vec2-base:model.checkpoint=FOLDER

        serlab compare crema-d --recipes mfcc-svm,resnet18-small --jobs 4

        serlab compare my-clips.csv --speaker-column who --protocol speaker-5
    """
    result = _compare(
        corpus,
        options.words(recipes),
        data=data,
        protocol=protocol,
        folds=options.numbers(folds, "--folds"),
        seeds=options.numbers(seeds, "--seeds") or [0],
        out=out,
        dev_only=dev_only,
        keep_models=keep_models,
        settings=settings,
        precision=precision,
        max_excluded=max_excluded,
        audio=audio,
        cache=cache,
        jobs=jobs,
        columns=(path_column, label_column, speaker_column),
    )
    print(result.report)


def train(
    corpus: options.CorpusName,
    recipe: Annotated[str, typer.Option(help="A preset or YAML file (`serlab recipes`).")] = "resnet18",
    data: options.Data = None,
    protocol: options.Protocol = None,
    fold: Annotated[int, typer.Option(help="The fold to train on.")] = 1,
    seed: Annotated[int, typer.Option(help="The run's seed.")] = 0,
    out: options.Out = Path("runs"),
    dev_only: Annotated[bool, typer.Option("--dev-only", help="Develop: never predict the test side.")] = False,
    settings: options.Settings = None,
    precision: options.Precision = None,
    max_excluded: options.MaxExcluded = 0.05,
    cache: options.Cache = True,
    path_column: options.PathColumn = "path",
    label_column: options.LabelColumn = "label",
    speaker_column: options.SpeakerColumn = None,
) -> None:
    """Train one model on one fold and keep it; prints the path of the model folder.

    Examples:
        serlab train crema-d --recipe resnet18 --fold 3

        serlab train my-clips/ --recipe wav2vec2-base --set training.epochs=5
    """
    result = _compare(
        corpus,
        [recipe],
        data=data,
        protocol=protocol,
        folds=[fold],
        seeds=[seed],
        out=out,
        dev_only=dev_only,
        keep_models=True,
        settings=settings,
        precision=precision,
        max_excluded=max_excluded,
        audio="link",
        cache=cache,
        columns=(path_column, label_column, speaker_column),
    )
    print(result.models[0])


def _compare(
    corpus: str,
    recipes: list[str],
    *,
    data: Path | None,
    protocol: str | None,
    folds: list[int],
    seeds: list[int],
    out: Path,
    dev_only: bool,
    keep_models: bool,
    settings: list[str] | None,
    precision: str | None,
    max_excluded: float,
    audio: str,
    cache: bool,
    columns: tuple[str, str, str | None],
    jobs: int = 1,
) -> Comparison:
    options.check_choice(precision, options.TRAINING_PRECISIONS, "--precision")
    options.check_choice(audio, ("link", "embed", "none"), "--audio")
    from serlab import comparison
    from serlab.recipes import load_variant
    from serlab.training.jobs import check_jobs

    # Before the corpus is scanned, which may take minutes.
    check_jobs(jobs)
    changes = options.changes_of(recipes, settings, precision)
    loaded = [load_variant(name, changes[name]) for name in recipes]
    result = comparison.compare(
        options.load(corpus, data, *columns),
        loaded,
        protocol=protocol,
        folds=folds,
        seeds=seeds,
        out=out,
        dev_only=dev_only,
        keep_models=keep_models,
        max_excluded=max_excluded,
        audio=cast("Audio", audio),
        cache=cache,
        jobs=jobs,
    )
    for exclusion in result.exclusions:
        say(f"left out: {exclusion.clip} ({exclusion.reason})")
    return result
