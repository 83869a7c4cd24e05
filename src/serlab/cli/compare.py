"""``serlab compare`` and ``serlab train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from serlab.cli import options, output
from serlab.core import UserError
from serlab.core.progress import say

if TYPE_CHECKING:
    from serlab.experiments.compare import Comparison
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
    folds: Annotated[str, typer.Option(help="Folds to run, e.g. `1,3` or `1-3`; all if absent.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds to run, e.g. `0,1,2` or `0-2`.")] = "0",
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
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only N clips per label and speaker, always the same ones.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Does it run? A few clips, one epoch, one fold, in a folder of its own.")
    ] = False,
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

        serlab compare crema-d --recipes wav2vec2-base --smoke
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
        limit=limit,
        smoke=smoke,
        columns=(path_column, label_column, speaker_column),
    )
    if result.models:
        say(f"to try a model: serlab predict --model {shlex.quote(str(result.models[0]))} FILE")
    output.path(result.report)


def train(
    corpus: options.CorpusName,
    recipe: Annotated[str, typer.Option(help="A preset or YAML file (`serlab recipes`).")] = "resnet18",
    data: options.Data = None,
    protocol: options.Protocol = None,
    fold: Annotated[int | None, typer.Option(help="The fold to train on; 1 if absent.")] = None,
    seed: Annotated[int, typer.Option(help="The run's seed.")] = 0,
    out: options.Out = Path("runs"),
    dev_only: Annotated[bool, typer.Option("--dev-only", help="Develop: never predict the test side.")] = False,
    everyone: Annotated[
        bool, typer.Option("--all", help="Train on every speaker, for use: nothing is left to test the model on.")
    ] = False,
    quote: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --all: a comparison, `OUT/CORPUS/PROTOCOL`, whose figures the card quotes and whose dev sides "
            "choose the epochs.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="With --all: stop after this epoch; the recipe's last if absent.")
    ] = None,
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

        serlab train crema-d --recipe resnet18 --all --quote runs/crema-d/emo-superb-5
    """
    columns = (path_column, label_column, speaker_column)
    if everyone:
        for given, option in ((protocol, "--protocol"), (fold, "--fold"), (dev_only, "--dev-only")):
            if given:
                raise UserError(f"{option} is about a split, and --all trains on every clip; leave one of them out.")
        from serlab.experiments.deployment import train_on_everyone
        from serlab.recipes import load_variant

        loaded = load_variant(recipe, options.changes_of([recipe], settings, precision)[recipe])
        model = train_on_everyone(
            options.load(corpus, data, *columns),
            loaded,
            quote=quote,
            epochs=epochs,
            seed=seed,
            out=out,
            max_excluded=max_excluded,
            cache=cache,
        )
        output.path(model)
        return
    for value, option in ((quote, "--quote"), (epochs, "--epochs")):
        if value is not None:
            more = "; set training.epochs with --set" if option == "--epochs" else ""
            raise UserError(f"{option} goes with --all{more}.")
    result = _compare(
        corpus,
        [recipe],
        data=data,
        protocol=protocol,
        folds=[1 if fold is None else fold],
        seeds=[seed],
        out=out,
        dev_only=dev_only,
        keep_models=True,
        settings=settings,
        precision=precision,
        max_excluded=max_excluded,
        audio="link",
        cache=cache,
        columns=columns,
    )
    output.path(result.models[0])


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
    limit: int | None = None,
    smoke: bool = False,
) -> Comparison:
    options.check_choice(audio, ("link", "embed", "none"), "--audio")
    from serlab.experiments import compare as comparison
    from serlab.experiments.jobs import check_jobs
    from serlab.recipes import load_variant

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
        limit=limit,
        smoke=smoke,
    )
    for exclusion in result.exclusions:
        say(f"left out: {exclusion.clip} ({exclusion.reason})")
    return result
