"""``serlab data``: get, verify and describe corpora."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from serlab.cli import options, output
from serlab.core import UserError

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    data = typer.Typer(help="Get, check and describe corpora.", no_args_is_help=True)
    data.command()(verify)
    data.command()(describe)
    data.command()(get)
    app.add_typer(data, name="data")


def verify(
    corpus: options.CorpusName,
    data: options.Data = None,
    form: options.Format = "table",
) -> None:
    """Check the files of a corpus: missing, corrupt, or not the official ones; exit code 1 if there are any.

    Files that are no clips of the corpus are listed as extra; they are not used, and are no problem.

    Example:
        serlab data verify crema-d --data CREMA-D
    """
    options.check_choice(form, options.FORMATS, "--format")
    from serlab.corpora.verify import verify as check

    result = check(corpus, options.folder_of(data, corpus))
    if form == "json":
        print(json.dumps(result.as_dict(), indent=1))
    else:
        output.lines([f"{result.corpus}: {result.present} of {result.clips} clips present; {result.copy}"])
        faults = [f"{entry.clip} ({entry.reason})" for entry in result.known_faults]
        corrupt = [f"{entry.clip} ({entry.reason})" for entry in result.corrupt]
        left_out = [f"{entry.clip} ({entry.reason})" for entry in result.left_out]
        for title, found in (
            ("missing", result.missing),
            ("extra", result.extra),
            ("second copies", result.twice),
            ("corrupt", corrupt),
            ("left out", left_out),
            ("faulty in the official corpus too", faults),
            ("not the official bytes", result.differing),
        ):
            if found:
                more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
                output.lines([f"{title}: {len(found)}: {', '.join(found[:_SHOWN])}{more}"])
        output.lines(["no problems found" if result.ok else "problems found: see above"])
    if not result.ok:
        raise typer.Exit(1)


def describe(folder: Annotated[Path, typer.Argument(help="A folder of audio files.", show_default=False)]) -> None:
    """Draft a description (YAML) of a corpus from the names of its files.

    Examples:
        serlab data describe FOLDER > my-corpus.yaml

        serlab compare my-corpus.yaml --data FOLDER
    """
    from serlab.corpora.drafting import draft

    print(draft(folder).text, end="")


def get(
    name: Annotated[str, typer.Argument(help="A known corpus (`serlab corpora`).", show_default=False)],
    data: Annotated[Path | None, typer.Option("--data", help="Folder for the corpus, if not in $SERLAB_DATA.")] = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You accept the corpus's licence.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched.")] = False,
) -> None:
    """Get the official files of a corpus; a later call continues an unfinished one.

    Examples:
        serlab data get ravdess --dry-run

        serlab data get ravdess --accept-licence
    """
    from serlab.core import unknown
    from serlab.corpora import descriptions
    from serlab.corpora.fetching import get as fetch
    from serlab.corpora.fetching import wanted
    from serlab.corpora.locate import place_for

    known = descriptions().get(name)
    if known is None:
        raise unknown("corpus", name, descriptions())
    files = wanted(known, place_for(name, data))
    output.lines(
        [
            f"{known.title}: {files.summary}",
            f"from: {files.source}",
            f"licence: {known.licence}",
            f"cite: {known.citation}",
        ]
    )
    if dry_run or not files.files:
        return
    if not (accept_licence or _accepted()):
        raise UserError(f"read the licence of {known.title} above; if you accept it, add --accept-licence.")
    count = fetch(files)
    output.lines([f"all {count:,} files are the official ones"])


def _accepted() -> bool:
    """Ask on a terminal whether the user accepts the licence."""
    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm("Do you accept this licence?", err=True)
