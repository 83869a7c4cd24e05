"""What a paper takes from a report: tables as LaTeX and CSV, a methods paragraph, references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serlab.core import files
from serlab.report import latex
from serlab.report.methods import Methods
from serlab.report.summary import Report
from serlab.report.svg import Drawing
from serlab.report.tables import comparison_tables, to_csv
from serlab.report.trust_tables import trust_tables


def write_paper(summary: Report, methods: Methods, drawings: Sequence[Drawing], folder: Path) -> None:
    """Write ``<table>.tex`` and ``<table>.csv``, ``methods.tex``, ``methods.bib``, and ``example.tex`` with all of it.

    A table without rows has no files; those that an earlier report left are deleted.

    Args:
        summary: the report.
        methods: its methods paragraph.
        drawings: its figures, which lie in ``figures/`` beside the folder.
        folder: where the files go.

    Raises:
        MachineError: they cannot be written.
    """
    every = comparison_tables(summary) + trust_tables(summary)
    tables = [table for table in every if table.rows]
    written = {f"{table.name}.tex": f"% {_line(summary)}\n{latex.table(table)}" for table in tables}
    written |= {f"{table.name}.csv": to_csv(table) for table in tables}
    written |= {"methods.tex": latex.paragraph(methods.text, methods.cited) + "\n", "methods.bib": methods.bibtex}
    written["example.tex"] = _example([table.name for table in tables], drawings)
    for name, text in written.items():
        files.write_text(folder / name, text)
    for table in every:
        for ending in () if table.rows else ("tex", "csv"):
            (folder / f"{table.name}.{ending}").unlink(missing_ok=True)


def _line(summary: Report) -> str:
    return (
        f"serlab {', '.join(summary.serlab)}: {summary.signature}. Needs booktabs, and longtable or graphicx if used."
    )


def _example(tables: Sequence[str], drawings: Sequence[Drawing]) -> str:
    """A document with all of it, to copy from; figures are 8 cm wide, a column of most papers."""
    figures = [
        f"\\begin{{figure}}[t]\\centering\\includegraphics[width=8cm]{{../figures/{drawing.name}.pdf}}"
        f"\\caption{{{latex.escape(drawing.title)}. {latex.escape(drawing.caption)}}}\\end{{figure}}"
        for drawing in drawings
    ]
    return "\n".join(
        [
            r"\documentclass[a4paper]{article}",
            r"\usepackage[margin=15mm]{geometry}",
            r"\usepackage{booktabs,longtable,graphicx}",
            r"\begin{document}",
            r"\section*{Methods}\input{methods}",
            *(f"\\input{{{name}}}\\clearpage" for name in tables),
            *(
                f"{figure}{chr(10) + chr(92) + 'clearpage' if number % 3 == 2 else ''}"
                for number, figure in enumerate(figures)
            ),
            r"\bibliographystyle{plain}\bibliography{methods}",
            r"\end{document}",
            "",
        ]
    )
