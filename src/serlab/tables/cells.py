"""Convert the cells of a table to text or numbers, independent of the file format."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serlab.core import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_BLANKS = "\ufeff\u200b"
_LONGEST_SHOWN = 40
# PATH_MAX on Linux.
_LONGEST_TEXT = 4096
_EXACT = 2**53


@dataclass(frozen=True)
class Unreadable:
    """Placeholder for a cell that is neither text nor a number; ``kind`` describes it."""

    kind: str


def text_of(column: pd.Series, source: str) -> pd.Series:
    """Return a column as stripped text; missing cells become empty strings.

    Args:
        column: cells of any type.
        source: name of the table in errors.

    Raises:
        UserError: A cell is a list, a structure, bytes or a date.

    >>> import pandas as pd
    >>> text_of(pd.Series([" a", None, 3.0, 0.5], dtype=object), "t.csv").tolist()
    ['a', '', '3', '0.5']
    """
    import pandas as pd

    values = [_text(value, column.name, source) for value in column.tolist()]
    return pd.Series(values, index=column.index, name=column.name, dtype=object)


def numbers_of(table: pd.DataFrame, names: Sequence[str], source: str) -> NDArray[np.float64]:
    """Return columns as numbers, shape (rows, columns); missing cells become NaN.

    Args:
        table: the table.
        names: names of the columns.
        source: name of the table in errors.

    Raises:
        UserError: A cell is not a number.
    """
    import numpy as np

    found = np.empty((len(table), len(names)))
    for place, name in enumerate(names):
        column = table[name]
        if column.dtype.kind in "fiu":
            found[:, place] = column.to_numpy(np.float64)
        else:
            for row, value in enumerate(column.tolist()):
                try:
                    found[row, place] = math.nan if missing(value) else float(value)
                except (TypeError, ValueError, OverflowError):
                    raise UserError(
                        f"{source} has a score that is not a number: {_shown(value)} in the column {name!r}, row "
                        f"{table.index[row] + 1}{_remedy(value)}."
                    ) from None
    return found


def _text(value: Any, name: object, source: str) -> str:
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise UserError(f"the column {name!r} of {source} has a cell of {len(value):,} characters; shorten it.")
        if value.isascii() and value[:1] > " " and value[-1:] > " ":
            return value  # the usual case, without three copies
        # JSON may hold lone surrogates (file names that are not UTF-8); tables and terminals can't.
        return stripped(value).encode("utf-8", "backslashreplace").decode()
    if missing(value):
        return ""
    if isinstance(value, Unreadable | list | dict | tuple | set | bytes) or bool(getattr(value, "ndim", False)):
        kind = value.kind if isinstance(value, Unreadable) else f"values of the type {type(value).__name__}"
        raise UserError(f"the column {name!r} of {source} holds {kind}; expected text or numbers.")
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return str(value).strip()


def missing(value: Any) -> bool:
    """Whether a cell is missing: None, NaN, pandas' NA or NaT, or blank text."""
    if value is None or isinstance(value, str):
        return not value or not stripped(value)
    try:
        return bool(value != value)  # NaN and NaT are not equal to themselves.
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"


def _shown(value: Any) -> str:
    text = value.kind if isinstance(value, Unreadable) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _remedy(value: Any) -> str:
    """How to fix text that looks like a number to a person.

    >>> _remedy("0,5"), _remedy("50 %"), _remedy("much")
    ('; write 0.5', '; write percentages as fractions from 0 to 1', '')
    """
    if not isinstance(value, str):
        return ""
    if re.fullmatch(r"\s*-?\d*,\d+\s*", value):
        return f"; write {value.strip().replace(',', '.')}"
    return "; write percentages as fractions from 0 to 1" if value.strip().endswith("%") else ""


def stripped(text: str) -> str:
    """Strip surrounding whitespace and invisible characters such as byte order marks."""
    return text.strip().strip(_BLANKS).strip()
