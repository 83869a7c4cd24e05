"""Tables that come with a known corpus: those that list its clips, and those that are joined."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path, PurePath

import pandas as pd

from serlab.audio import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from serlab.core import UserError
from serlab.core.progress import say_once
from serlab.corpora.description import Description, Table

_ANY_DEPTH = "**/"
_FIELD = re.compile(r"{([^{}]+)}")
_ENDINGS = frozenset((*AUDIO_SUFFIXES, *MEDIA_SUFFIXES))


def listed_clips(description: Description, root: Path) -> pd.DataFrame:
    """List the official clips by the tables, or the module, of the description.

    Args:
        description: of the corpus.
        root: the copy's folder.

    Returns:
        Column ``clip`` and the columns that the tables give, sorted by ``clip``; clips whose label
        the description leaves out have an empty ``label``. An empty table if the description has
        no such list.

    Raises:
        UserError: a table is missing or damaged, lists a clip twice, or has an unknown label code.
    """
    hook = getattr(description.module, "list_clips", None)
    parts = [_read_list(description, table, root) for table in description.listing]
    if hook is not None:
        parts.append(hook(description, root))
    if not parts:
        return pd.DataFrame({"clip": pd.Series([], dtype=object)})
    rows = pd.concat(parts, ignore_index=True).fillna("")
    twice = rows["clip"][rows["clip"].duplicated()]
    if len(twice):
        raise UserError(f"the tables of {description.title} in {root} list the clip {twice.iloc[0]} twice; keep one.")
    return rows.sort_values("clip", ignore_index=True)


def _read_list(description: Description, table: Table, root: Path) -> pd.DataFrame:
    path = find_table(root, table.file, *table.also)
    if path is None:
        name = table.file.removeprefix(_ANY_DEPTH)
        raise UserError(
            f"{root} holds no {name}, which lists the clips of {description.title}; give the folder that contains it "
            f"and the audio, or get the corpus from {description.obtain}."
        )
    rows = _read(description, table, path).rename(columns={table.column: "clip"})
    for column, value in table.same.items():
        rows[column] = value
    return rows


def _read(description: Description, table: Table, path: Path) -> pd.DataFrame:
    """The key and the columns of a table, renamed and with codes translated; all cells are text."""
    parts = _FIELD.findall(table.key) or [table.key]
    needed = list(dict.fromkeys([*parts, *table.columns]))
    separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        read = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding_errors="replace")
    except (OSError, ValueError) as error:
        raise damaged(description, path, str(error)) from error
    absent = [name for name in needed if name not in read.columns]
    if absent:
        there = ", ".join(map(str, read.columns))
        raise damaged(description, path, f"it has no column {absent[0]!r}, but {there}")
    read = read[needed].apply(lambda column: column.str.strip())
    if _FIELD.search(table.key):
        keys = [_filled(table.key, row) for row in read.to_dict("records")]
    else:
        keys = read[table.key].tolist()
    if table.column == "clip":
        keys = [_without_extension(key) for key in keys]
    found = pd.DataFrame({table.column: pd.Series(keys, dtype=object)})
    for theirs, ours in table.columns.items():
        found[ours] = read[theirs]
    for column, codes in table.codes.items():
        strange = found[column][~found[column].isin(list(codes))]
        if len(strange):
            raise UserError(
                f"row {strange.index[0] + 1} of the table {path} (its header not counted) has the {column} code "
                f"{strange.iloc[0]!r}, which the description does not list; add it to the table's codes, with an empty "
                "meaning to leave such clips out."
            )
        found[column] = found[column].map(codes)
    return found


def _filled(text: str, row: Mapping[Hashable, str]) -> str:
    return _FIELD.sub(lambda found: row[found[1]], text)


def _without_extension(name: str) -> str:
    stem, dot, ending = PurePath(name.replace("\\", "/")).name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in _ENDINGS else PurePath(name).name


def join_tables(description: Description, clips: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Add the columns of the tables that the copy contains.

    Raises:
        UserError: a table is damaged or lacks clips.
    """
    for table in description.tables:
        path = None if table.lists_clips else find_table(root, table.file, *table.also)
        if path is None:
            continue
        read = _read(description, table, path)
        _say_without_clip(description, path, read[table.column], clips[table.column])
        try:
            numbers = {name: pd.to_numeric(read[name]) for name in table.columns.values() if _are_numbers(read[name])}
            clips = clips.merge(read.assign(**numbers), how="left", on=table.column, validate="m:1")
        except ValueError as error:
            raise damaged(description, path, str(error)) from error
        check_complete(description, path, clips, list(table.columns.values()))
    add = getattr(description.module, "add_columns", None)
    return clips if add is None else add(description, clips, root)


def _say_without_clip(description: Description, path: Path, keys: pd.Series, there: pd.Series) -> None:
    """Report rows of a table that belong to no clip."""
    without = keys[~keys.isin(there)]
    if len(without):
        rows = "1 row" if len(without) == 1 else f"{len(without):,} rows"
        say_once(f"{description.title}: {path} has {rows} without a clip here (first {without.iloc[0]}); left out.")


def _are_numbers(column: pd.Series) -> bool:
    # Codes such as 001 are text.
    return bool(pd.to_numeric(column, errors="coerce").notna().all() and not column.str.match(r"0\d").any())


def find_table(root: Path, *names: str) -> Path | None:
    """Find a table of a corpus in its folder, or beside it if the folder of the audio files was given.

    Args:
        root: the corpus's folder.
        names: paths of the table below it, the first one found counts; ``**/name.csv`` is found at
            any depth, the highest first.
    """
    return next(filter(None, (_find(root, name) for name in names)), None)


def _find(root: Path, name: str) -> Path | None:
    if name.startswith(_ANY_DEPTH):
        file = name.removeprefix(_ANY_DEPTH)
        places: Iterable[Path] = [root, root.absolute().parent]
        if beside := next((place / file for place in places if (place / file).is_file()), None):
            return beside
        return min(_below(root, file), key=lambda path: (len(path.parts), str(path)), default=None)
    places = [root, root.absolute().parent] if root.absolute().name.startswith("Audio") else [root]
    return next((place / name for place in places if (place / name).is_file()), None)


def _below(root: Path, file: str) -> list[Path]:
    return [Path(folder) / file for folder, _, names in os.walk(root) if file in names]


def check_complete(description: Description, path: Path, clips: pd.DataFrame, names: list[str]) -> None:
    """Refuse a table that lacks rows for some clips."""
    lacking = clips.loc[clips[names].isna().any(axis=1), "clip"]
    if len(lacking):
        count = "the clip" if len(lacking) == 1 else f"{len(lacking):,} clips, first"
        raise damaged(description, path, f"it lacks {count} {lacking.iloc[0]}")


def damaged(description: Description, path: Path, why: str) -> UserError:
    """Build the error for a table that differs from the corpus's original."""
    first_line = why.partition("\n")[0]
    if not description.homepage:
        return UserError(f"{path} does not fit the description of {description.title} ({first_line}); correct either.")
    return UserError(
        f"{path} is not {description.title}'s own table ({first_line}); get it again from the corpus, or remove it."
    )
