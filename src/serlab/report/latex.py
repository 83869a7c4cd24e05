"""Tables and text as LaTeX: booktabs, and no other package unless a table is longer than a page."""

from __future__ import annotations

import re

from serlab.report.tables import Table, printed

MOST_ROWS = 40
"""A longer table breaks over pages (longtable)."""
_MOST_NARROW = 5
_TIGHT = r"\footnotesize\setlength{\tabcolsep}{3.5pt}"
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
_CITATION = re.compile(r"\[@([\w-]+)\]")


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> print(escape("wav2vec2_base & 100 %"))
    wav2vec2\_base \& 100 \%
    """
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text)


def paragraph(text: str) -> str:
    r"""A paragraph whose citations are written ``[@key]``.

    >>> print(paragraph("a bootstrap [@hesterberg2015] of 95 %"))
    a bootstrap~\cite{hesterberg2015} of 95 \%
    """
    parts = _CITATION.split(text)
    escaped = [f"\\cite{{{part}}}" if number % 2 else escape(part) for number, part in enumerate(parts)]
    return "".join(escaped).replace(r" \cite", r"~\cite")


def table(found: Table) -> str:
    r"""A table as a float, one longer than a page as longtable; its label is ``tab:serlab-<name>``."""
    places = [place for place, column in enumerate(found.columns) if column.heading]
    columns = [found.columns[place] for place in places]
    shape = "".join("l" if column.text else "r" for column in columns)
    head = " & ".join(escape(column.heading) for column in columns) + r" \\"
    rows = [
        " & ".join(escape(printed(column, row[place])) for column, place in zip(columns, places, strict=True)) + r" \\"
        for row in found.rows
    ]
    caption = f"\\caption{{{escape(found.caption)}}}\\label{{tab:serlab-{found.name}}}"
    if len(rows) > MOST_ROWS:
        above = [r"\toprule", head, r"\midrule"]
        first = ["{" + _TIGHT, f"\\begin{{longtable}}{{@{{}}{shape}@{{}}}}", rf"{caption}\\", *above, r"\endfirsthead"]
        lines = [*first, *above, r"\endhead", r"\bottomrule", r"\endfoot", *rows, r"\end{longtable}", "}"]
    else:
        kind, size = ("table", r"\small") if len(columns) <= _MOST_NARROW else ("table*", _TIGHT)
        start = [f"\\begin{{{kind}}}[t]", rf"\centering{size}", caption, f"\\begin{{tabular}}{{@{{}}{shape}@{{}}}}"]
        body = [r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
        lines = [*start, *body, r"\end{tabular}", f"\\end{{{kind}}}"]
    return "\n".join(lines) + "\n"
