"""``serlab audit`` and ``serlab split``: find leaks in a split, and create a split without leaks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serlab.cli import command, options, output
from serlab.cli.command import After
from serlab.core import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serlab.corpora.base import Corpus
    from serlab.protocols import Split

_MOST_NAMED = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command.add(app, audit)
    command.add(app, make_split, "split")


@dataclass(frozen=True, kw_only=True)
class AuditOptions(options.CorpusOptions):
    """Options of ``serlab audit``."""

    protocol: options.Protocol = None
    split: Annotated[
        Path | None,
        typer.Option(help="A split of your own: CSV with columns `clip` and `side` (train, dev, test)."),
        After("protocol"),
    ] = None
    form: Annotated[options.Format, After("split")] = "table"
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if there is an error."), After("form")] = (
        False
    )


def audit(args: AuditOptions) -> None:
    """Look for leaks and faults: speakers or recordings in two subsets, duplicates, broken clips, confounders.

    Files that cannot be used are listed, and the exit code is then 1.

    Examples:
        serlab audit crema-d --protocol seed-random

        serlab audit my-clips.csv --split my-split.csv --format json --strict
    """
    options.check_choice(args.form, options.FORMATS, "--format")
    if args.protocol and args.split:
        raise UserError("--protocol and --split both name a split; give only one of them.")
    found = args.load()
    from serlab.leaks import audit as examine
    from serlab.leaks import left_out
    from serlab.leaks.findings import verdict

    chosen = _split_of(args, found)
    findings = [finding.data() for finding in examine(found, chosen)]
    excluded = left_out(found)
    name = chosen.name if chosen else None
    if args.form == "json":
        about = {"corpus": found.name, "fingerprint": found.fingerprint, "protocol": name}
        said = {"verdict": verdict(findings), "findings": findings, "excluded": options.as_json(excluded)}
        print(json.dumps({**about, **said}, indent=1))
    else:
        output.lines([f"{found.name}, {name or 'no split'}: {verdict(findings)}", *_lines(findings)])
    # The others were listed when the corpus was loaded.
    options.say_left_out([entry for entry in excluded if entry not in found.excluded])
    if excluded or (args.strict and any(finding["severity"] == "error" for finding in findings)):
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class SplitOptions(options.CorpusOptions):
    """Options of ``serlab split``."""

    out: Annotated[Path, typer.Option(help="The CSV to write, with columns `clip` and `side`."), After("corpus")] = (
        Path("split.csv")
    )
    protocol: Annotated[
        str | None, typer.Option(help="Write a fold of this protocol instead (`serlab protocols`)."), After("data")
    ] = None
    fold: Annotated[int, typer.Option(help="The protocol's fold."), After("protocol")] = 1


def make_split(args: SplitOptions) -> None:
    """Write a split without leaks: speakers apart, duplicates together, labels balanced.

    Entries of the corpus that cannot be used are listed, and the exit code is then 1.

    Examples:
        serlab split my-clips.csv --out split.csv

        serlab compare my-clips.csv --protocol split.csv
    """
    from serlab.core.files import check_target, is_stream

    check_target(args.out)
    found = args.load()
    from serlab.corpora.screening import check_labels
    from serlab.leaks import find_duplicates, left_out
    from serlab.protocols.files import find_split, sound_split, write_split

    out = args.out
    if out.resolve() == Path(args.corpus).resolve():
        raise UserError(f"--out {out} is the table of the corpus; name another file.")
    excluded = left_out(found)
    check_labels(found, excluded)
    chosen = find_split(found, args.protocol) if args.protocol else sound_split(found, find_duplicates(found))
    folds = {each.number: each for each in chosen.folds}
    if args.fold not in folds:
        raise UserError(f"protocol {chosen.name} has no fold {args.fold}; it has 1 to {len(folds)}.")
    write_split(out, folds[args.fold])
    if not is_stream(out):
        output.path(out)
    options.say_left_out([entry for entry in excluded if entry not in found.excluded])
    if excluded:
        raise typer.Exit(1)


def _split_of(args: AuditOptions, corpus: Corpus) -> Split | None:
    """The split selected by the options, or one that fits the corpus."""
    from serlab.core.progress import say
    from serlab.protocols import fitting_split
    from serlab.protocols.files import find_split, read_split

    if args.split:
        return read_split(corpus, args.split)
    if args.protocol:
        return find_split(corpus, args.protocol)
    found = fitting_split(corpus)
    if found is None:
        say(f"{corpus.name} is too small for any protocol, so no split is checked; name your own with --split.")
    return found


def _lines(findings: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for finding in findings:
        lines += ["", f"{finding['code']} {finding['severity']}: {finding['title']}", f"  {finding['text']}"]
        named = [" = ".join(pair) for pair in finding["pairs"]] or finding["clips"]
        if 1 < len(named) <= _MOST_NAMED:
            lines.append(f"  {', '.join(named)}")
        if finding["severity"] in ("error", "warning"):
            lines += [f"  Why: {finding['why']}", f"  What to do: {finding['todo']}"]
    return lines
