"""``serlab audit`` and ``serlab split``: what would make a figure unbelievable, and a split that does not."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serlab.cli import options, output
from serlab.core import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serlab.corpora.base import Corpus
    from serlab.protocols import Split

_MOST_NAMED = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(audit)
    app.command("split")(make_split)


def audit(
    corpus: options.CorpusName,
    data: options.Data = None,
    protocol: options.Protocol = None,
    split: Annotated[
        Path | None, typer.Option(help="A split of your own: CSV with columns `clip` and `side` (train, dev, test).")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="`table` or `json`.")] = "table",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there is an error.")] = False,
    path_column: options.PathColumn = "path",
    label_column: options.LabelColumn = "label",
    speaker_column: options.SpeakerColumn = None,
) -> None:
    """Look for leaks and faults: speakers and recordings on two sides, doubles, broken clips, telling nuisances.

    Files that cannot be used are listed, and the exit code is then 1.

    Examples:
        serlab audit crema-d --protocol seed-random

        serlab audit my-clips.csv --split my-split.csv --format json --strict
    """
    options.check_choice(form, ("table", "json"), "--format")
    if protocol and split:
        raise UserError("--protocol and --split each name a split; give one of them.")
    found = options.load(corpus, data, path_column, label_column, speaker_column)
    from serlab.leaks import audit as examine
    from serlab.leaks import left_out
    from serlab.leaks.findings import verdict
    from serlab.protocols.files import find_split, read_split

    chosen = read_split(found, split) if split else find_split(found, protocol) if protocol else None
    chosen = chosen or _default_split(found)
    findings = [finding.data() for finding in examine(found, chosen)]
    excluded = left_out(found)
    name = chosen.name if chosen else None
    if form == "json":
        about = {"corpus": found.name, "fingerprint": found.fingerprint, "protocol": name}
        said = {"verdict": verdict(findings), "findings": findings, "excluded": options.as_json(excluded)}
        print(json.dumps({**about, **said}, indent=1))
    else:
        output.lines([f"{found.name}, {name or 'no split'}: {verdict(findings)}", *_lines(findings)])
    # Loading the corpus has named the others.
    options.say_left_out([entry for entry in excluded if entry not in found.excluded])
    if excluded or (strict and any(finding["severity"] == "error" for finding in findings)):
        raise typer.Exit(1)


def make_split(
    corpus: options.CorpusName,
    out: Annotated[Path, typer.Option(help="The CSV to write, with columns `clip` and `side`.")] = Path("split.csv"),
    data: options.Data = None,
    protocol: Annotated[
        str | None, typer.Option(help="Write a fold of this protocol instead (`serlab protocols`).")
    ] = None,
    fold: Annotated[int, typer.Option(help="The protocol's fold.")] = 1,
    path_column: options.PathColumn = "path",
    label_column: options.LabelColumn = "label",
    speaker_column: options.SpeakerColumn = None,
) -> None:
    """Write a split that leaks nothing: speakers apart, copies of a recording together, labels balanced.

    Entries of the corpus that are left out of it are listed, and the exit code is then 1.

    Examples:
        serlab split my-clips.csv --out split.csv

        serlab compare my-clips.csv --protocol split.csv
    """
    found = options.load(corpus, data, path_column, label_column, speaker_column)
    from serlab.core.files import is_stream
    from serlab.corpora.screening import check_labels
    from serlab.leaks import find_duplicates, left_out
    from serlab.protocols.files import find_split, sound_split, write_split

    if out.resolve() == Path(corpus).resolve():
        raise UserError(f"--out {out} is the corpus's own table; name another file.")
    excluded = left_out(found)
    check_labels(found, excluded)
    chosen = find_split(found, protocol) if protocol else sound_split(found, find_duplicates(found))
    folds = {each.number: each for each in chosen.folds}
    if fold not in folds:
        raise UserError(f"protocol {chosen.name} has no fold {fold}; it has 1 to {len(folds)}.")
    write_split(out, folds[fold])
    if not is_stream(out):
        output.path(out)
    options.say_left_out([entry for entry in excluded if entry not in found.excluded])
    if excluded:
        raise typer.Exit(1)


def _default_split(corpus: Corpus) -> Split | None:
    """The corpus's default protocol, or another that fits it; none where it is too small for any."""
    from serlab.core.progress import say
    from serlab.protocols import default_protocol, protocol_names, split

    # All protocols are tried only where the usual one does not fit: on a large corpus that takes seconds.
    with suppress(UserError):
        return split(corpus, default_protocol(corpus))
    if fitting := protocol_names(corpus):
        return split(corpus, fitting[0])
    say(f"{corpus.name} is too small for any protocol, so no sides are checked; --split names a split of your own.")
    return None


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
