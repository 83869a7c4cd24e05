"""Tables and text as LaTeX: booktabs; longtable for a table longer than a page, graphicx for a wide one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import groupby

from serlab.report.tables import Table, printed

MOST_ROWS = 40
"""A longer table breaks over pages (longtable)."""
_MOST_NARROW = 5
_WIDEST_PT, _COLUMN_PT = 490, 230
_LETTER_PT, _BETWEEN_PT = 4.3, 7.0
_TIGHT = r"\footnotesize\setlength{\tabcolsep}{3.5pt}"
# No wider than the page; \width is the table's own.
_NARROWED = (r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{", "}")
_ESCAPES = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u2212": "$-$",
    "–": "--",
    "…": r"\ldots{}",
    "[": "{[}",
    "]": "{]}",
    '"': "''",
    "\n": " ",
    "“": "``",
    "”": "''",
}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> print(escape("wav2vec2_base & 100 %"))
    wav2vec2\_base \& 100 \%
    """
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text)


def paragraph(text: str, cited: Collection[str]) -> str:
    r"""A paragraph whose citations are written ``[@key]``; keys that are not in ``cited`` stay text.

    >>> print(paragraph("a bootstrap [@hesterberg2015] of [@95] %", ["hesterberg2015"]))
    a bootstrap~\cite{hesterberg2015} of {[}@95{]} \%
    """
    known = "|".join(map(re.escape, cited))
    parts = re.split(rf"\[@({known})\]", text) if cited else [text]
    escaped = [f"\\cite{{{part}}}" if number % 2 else escape(part) for number, part in enumerate(parts)]
    return "".join(escaped).replace(r" \cite", r"~\cite")


def table(found: Table) -> str:
    r"""A table as a float, one longer than a page as longtable; its label is ``tab:serlab-<name>``.

    One that is too wide has rotated headings, is made as narrow as the page (both by graphicx), and is
    divided into floats if it is longer than a page.
    """
    places = [place for place, column in enumerate(found.columns) if column.heading]
    columns = [found.columns[place] for place in places]
    shape = "".join("l" if column.text else "r" for column in columns)
    cells = [[printed(column, row[place]) for column, place in zip(columns, places, strict=True)] for row in found.rows]
    width = _width([[column.heading for column in columns], *cells])
    wide = width > _WIDEST_PT
    headings = [
        f"\\rotatebox{{90}}{{{escape(column.heading)}}}" if wide and not column.text else escape(column.heading)
        for column in columns
    ]
    head = " & ".join(headings) + r" \\"
    rows = [" & ".join(map(escape, row)) + r" \\" for row in cells]
    caption, label = escape(found.caption), f"\\label{{tab:serlab-{found.name}}}"
    if wide:
        parts = _pages([row[0] for row in cells], rows)
        captions = [caption, *(f"{caption} Part {number} of {len(parts)}." for number in range(2, len(parts) + 1))]
        floats = [
            _float("table*", _TIGHT, f"\\caption{{{said}}}{label if not number else ''}", _NARROWED, shape, head, part)
            for number, (said, part) in enumerate(zip(captions, parts, strict=True))
        ]
        return "\n".join(floats)
    caption = f"\\caption{{{caption}}}{label}"
    if len(rows) > MOST_ROWS:
        above = [r"\toprule", head, r"\midrule"]
        first = ["{" + _TIGHT, f"\\begin{{longtable}}{{@{{}}{shape}@{{}}}}", rf"{caption}\\", *above, r"\endfirsthead"]
        lines = [*first, *above, r"\endhead", r"\bottomrule", r"\endfoot", *rows, r"\end{longtable}", "}"]
        return "\n".join(lines) + "\n"
    narrow = len(columns) <= _MOST_NARROW and width <= _COLUMN_PT
    kind, size = ("table", r"\small") if narrow else ("table*", _TIGHT)
    return _float(kind, size, caption, ("", ""), shape, head, rows)


def _width(rows: Sequence[Sequence[str]]) -> float:
    """About the width of a table in points, at the size of wide ones."""
    return sum(_LETTER_PT * max(map(len, column)) + _BETWEEN_PT for column in zip(*rows, strict=True))


def _float(
    kind: str, size: str, caption: str, around: tuple[str, str], shape: str, head: str, rows: Sequence[str]
) -> str:
    before, after = around
    start = [f"\\begin{{{kind}}}[t]", rf"\centering{size}", caption, f"{before}\\begin{{tabular}}{{@{{}}{shape}@{{}}}}"]
    body = [r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    return "\n".join([*start, *body, rf"\end{{tabular}}{after}", f"\\end{{{kind}}}"]) + "\n"


def _pages(keys: Sequence[str], rows: Sequence[str]) -> list[list[str]]:
    """Divide rows into parts of at most a page; rows with one key stay together if they fit."""
    parts: list[list[str]] = [[]]
    for _, members in groupby(zip(keys, rows, strict=True), key=lambda pair: pair[0]):
        group = [row for _, row in members]
        if parts[-1] and len(parts[-1]) + len(group) > MOST_ROWS:
            parts.append([])
        parts[-1] += group
    return parts
