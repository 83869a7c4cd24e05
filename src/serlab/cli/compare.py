"""``serlab compare`` and ``serlab train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serlab.cli import command, crossing, options, output
from serlab.cli.command import After
from serlab.core.progress import say

if TYPE_CHECKING:
    from serlab.experiments.compare import Comparison
    from serlab.recipes import Recipe


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command.add(app, compare)
    command.add(app, train)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(options.TrainingOptions):
    """Options of ``serlab compare``."""

    corpus: options.CorpusName = "synthetic"
    recipes: Annotated[
        str,
        typer.Option(help="Presets, YAML files or finished models, separated by commas (`serlab recipes`)."),
        After("corpus"),
    ] = "wav2vec2-small,resnet18-small,mfcc-svm"
    folds: Annotated[
        str, typer.Option(help="Folds to run, e.g. `1,3` or `1-3`; all if omitted."), After("protocol")
    ] = ""
    seeds: Annotated[str, typer.Option(help="Seeds to run, e.g. `0,1,2` or `0-2`."), After("folds")] = "0"
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep each run's model folder."), After("dev_only")
    ] = False
    audio: Annotated[options.ReportAudio, After("max_excluded")] = "link"
    margin: Annotated[options.Margin, After("audio")] = 2
    jobs: Annotated[
        int,
        typer.Option(
            help="Parallel runs that share the cores: for small networks and SVMs, which cannot use all of them."
        ),
        After("cache"),
    ] = 1
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only N clips per label and speaker, always the same ones."),
        After("jobs"),
    ] = None
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Check that it runs: a few clips, one epoch, one fold, in a folder of its own."),
        After("limit"),
    ] = False
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CORPORA",
            help="Across corpora: train on all speakers of these, e.g. `crema-d,tess`; repeat it for other models.",
        ),
        After("smoke"),
    ] = None
    test: Annotated[
        str | None,
        typer.Option(
            metavar="CORPORA", help="Across corpora: test on each of these, or `each` to leave one out at a time."
        ),
        After("train"),
    ] = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MAP",
            help="Across corpora: a YAML map of labels, `iemocap-4` or `calm-as-neutral`; may be repeated.",
        ),
        After("test"),
    ] = None
    balance: Annotated[
        bool,
        typer.Option(
            "--balance", help="Across corpora: repeat clips of smaller ones until all have as many as the largest."
        ),
        After("labels"),
    ] = False
    normalise: Annotated[
        bool,
        typer.Option(
            "--normalise",
            help="Across corpora: also add a row with features normalised per corpus, without labels (transductive).",
        ),
        After("balance"),
    ] = False


def compare(args: CompareOptions) -> None:
    """Compare recipes on the same folds; prints the path of the report.

    Finished runs are not repeated, and an interrupted comparison resumes where it stopped.

    Examples:
        serlab compare                # the synthetic corpus, offline, a few minutes

        serlab compare crema-d --data CREMA-D --recipes resnet18,wav2vec2-base --seeds 0,1,2

        serlab compare crema-d --recipes resnet18,wav2vec2-base --set wav2vec2-base:model.checkpoint=FOLDER

        serlab compare crema-d --recipes mfcc-svm,resnet18-small --jobs 4

        serlab compare my-clips.csv --speaker-column who --protocol speaker-5

        serlab compare crema-d --recipes wav2vec2-base --smoke

        serlab compare --train crema-d,tess --test emovo,nemo --recipes mfcc-svm,wav2vec2-base

        serlab compare --test emovo --recipes ./my-model
    """
    if crossing.wanted(args):
        crossing.run(args)
        return
    options.check_choice(args.audio, options.AUDIO, "--audio")
    result = _compare(
        args,
        options.words(args.recipes),
        folds=options.numbers(args.folds, "--folds"),
        seeds=options.numbers(args.seeds, "--seeds") or [0],
        keep_models=args.keep_models,
        audio=args.audio,
        margin=args.margin / 100,
        jobs=args.jobs,
        limit=args.limit,
        smoke=args.smoke,
        labels=args.labels,
    )
    output.report(result.report, result.models)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(options.TrainingOptions):
    """Options of ``serlab train``."""

    recipe: Annotated[str, typer.Option(help="A preset or YAML file (`serlab recipes`)."), After("corpus")] = "resnet18"
    fold: Annotated[int | None, typer.Option(help="The fold to train on; 1 if omitted."), After("protocol")] = None
    seed: Annotated[int, typer.Option(help="The run's seed."), After("fold")] = 0
    everyone: Annotated[
        bool,
        typer.Option("--all", help="Train on every speaker, for use: nothing is left to test the model with."),
        After("dev_only"),
    ] = False
    quote: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --all: a comparison, `OUT/CORPUS/PROTOCOL`; its figures are quoted in the model card, and its "
            "dev subsets choose the epochs.",
        ),
        After("everyone"),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --all: stop after this epoch; the recipe's last if omitted."),
        After("quote"),
    ] = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MAP",
            help="Several corpora: a YAML map of labels, `iemocap-4` or `calm-as-neutral`; may be repeated.",
        ),
        After("cache"),
    ] = None
    balance: Annotated[
        bool,
        typer.Option(
            "--balance", help="Several corpora: repeat clips of smaller ones until all have as many as the largest."
        ),
        After("labels"),
    ] = False


def train(args: TrainOptions) -> None:
    """Train one model on one fold and keep it; prints the path of the model folder.

    Examples:
        serlab train crema-d --recipe resnet18 --fold 3

        serlab train my-clips/ --recipe wav2vec2-base --set training.epochs=5

        serlab train crema-d --recipe resnet18 --all --quote runs/crema-d/emo-superb-5

        serlab train crema-d,nemo --recipe mfcc-svm --all
    """
    from serlab.experiments.train import check_arguments

    of_split = {"protocol": args.protocol, "fold": args.fold, "dev_only": args.dev_only or None}
    check_arguments(args.everyone, of_split, {"quote": args.quote, "epochs": args.epochs})
    if crossing.several(args):
        output.path(crossing.train(args))
        return
    if args.everyone:
        output.path(_train_on_everyone(args))
        return
    fold = 1 if args.fold is None else args.fold
    result = _compare(args, [args.recipe], folds=[fold], seeds=[args.seed], keep_models=True)
    output.path(result.models[0])


def _train_on_everyone(args: TrainOptions) -> Path:
    from serlab.experiments.deployment import train_on_everyone

    (recipe,) = args.variants([args.recipe])
    return train_on_everyone(
        args.load(),
        recipe,
        quote=args.quote,
        epochs=args.epochs,
        seed=args.seed,
        out=args.out,
        max_excluded=args.max_excluded,
        cache=args.cache,
    )


def _compare(args: options.TrainingOptions, recipes: list[str], *, jobs: int = 1, **more: Any) -> Comparison:
    """Call :func:`serlab.compare` with the options of both commands and with ``more``."""
    from serlab.experiments.compare import compare
    from serlab.experiments.crossing_models import is_model
    from serlab.experiments.jobs import check_jobs

    # Before the corpus is scanned, which may take minutes.
    check_jobs(jobs)
    given = [name for name in recipes if is_model(name)]
    variants: list[Recipe | str] = [*args.variants([name for name in recipes if name not in given]), *given]
    result = compare(
        args.load(),
        variants,
        protocol=args.protocol,
        out=args.out,
        dev_only=args.dev_only,
        max_excluded=args.max_excluded,
        cache=args.cache,
        jobs=jobs,
        **more,
    )
    for exclusion in result.exclusions:
        say(f"left out: {exclusion.clip} ({exclusion.reason})")
    return result
