"""The report as a page, as Markdown and as JSON.

The page is one file without network requests; its content policy forbids them. All names from users
(labels, clips, recipes) are escaped.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from serlab.core import UserError, argument, files
from serlab.core.progress import clock
from serlab.core.settings import plain
from serlab.evaluation.claims import calibration_text, needed_text, scope_text, sentences_text
from serlab.evaluation.learning import NOT_SHOWN
from serlab.evaluation.metrics import METRICS
from serlab.evaluation.significance import MARGIN
from serlab.recipes.variants import changes_text
from serlab.report import words
from serlab.report.figures import draw_all
from serlab.report.foreign import Judged, foreign_runs
from serlab.report.methods import Methods, methods_of
from serlab.report.notices import GRAVITY, kinds
from serlab.report.overview import Overview, survey
from serlab.report.pairs import answer_text
from serlab.report.paper import write_paper
from serlab.report.summary import Report, summarise
from serlab.report.svg import Drawing, colour_variables, exports
from serlab.report.trust_figures import draw_trust
from serlab.tables import ledger
from serlab.tables.predictions import read_protocols, read_runs

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus
    from serlab.evaluation.prepare import PreparedTable

Audio = Literal["link", "embed", "none"]
PAPER = "paper"
"""The folder of tables, methods and references beside the page."""
AUDIT = "audit.json"
"""What the leak audit found, beside the recipes' folders."""
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def build(
    folder: Path | str,
    *,
    recipes: Collection[str] = (),
    clips: pd.DataFrame | None = None,
    audio: Audio = "link",
    margin: float = MARGIN,
    latex: bool = False,
) -> Path:
    """Write the report of the runs below a folder.

    Args:
        folder: ``<out>/<corpus>/<protocol>``; the ledger is looked for at ``<out>/ledger.jsonl``.
        recipes: folder names of the recipes to show; all if empty.
        clips: the corpus's table, for its votes, what it knows of the speakers, and the files to
            listen to; parts that need it are left out without it.
        audio: ``"link"`` plays the user's own files by relative links, ``"embed"`` copies the few
            clips that are shown into the page, ``"none"`` leaves sound out.
        margin: differences of UAR up to this are called equivalent.
        latex: whether to write tables as LaTeX and CSV, a methods paragraph and its references into
            ``report/paper/``; they are kept up to date where they are there already.

    Returns:
        The path of ``report/index.html``; beside it lie ``report.md``, ``report.json`` and
        ``figures/``.

    Raises:
        UserError: there are no runs, they do not belong together, or a clip to embed cannot be
            read.
        MachineError: the report cannot be written.
    """
    folder = Path(folder)
    runs = read_runs(folder, recipes)
    _check_found(folder, recipes, {run.path.parent.name for run in runs})
    summary = summarise(runs, ledger.read(files.whole(folder).parent.parent), _read_audit(folder), clips, margin=margin)
    return _write(summary, folder / "report", clips, audio, latex=latex)


def build_foreign(
    tables: Sequence[Path | PreparedTable],
    folder: Path,
    corpus: Corpus | None = None,
    *,
    side: str = "test",
    audio: Audio = "link",
    margin: float = MARGIN,
    latex: bool = False,
    judged: Judged | None = None,
) -> Path:
    """Write the report of tables of predictions, serlab's own or others'.

    Args:
        tables: files for :func:`serlab.tables.predictions.read_foreign`, or such that are prepared
            already.
        folder: where the report goes: a new or empty folder, or one with an older report.
        corpus: what knows the clips' labels and speakers, their votes and files.
        side: which rows to judge where a table has a column ``side``.
        audio: as for :func:`build`.
        margin: likewise.
        latex: likewise.
        judged: from :func:`serlab.report.foreign.judged_as`, if the tables have been evaluated already.

    Returns:
        The path of ``index.html`` in ``folder``; beside it lie ``report.md``, ``report.json`` and
        ``figures/``.

    Raises:
        UserError, MachineError: as :func:`build`, and what :func:`serlab.evaluation.judge.evaluate`
            raises; the folder holds something else, which a report might replace.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "report.json").is_file():
        raise UserError(f"{folder} contains files but no report; choose a new or empty folder.")
    clips = None if corpus is None else corpus.clips
    summary = summarise(foreign_runs(tables, corpus, side=side), clips=clips, margin=margin, judged=judged)
    return _write(summary, folder, clips, audio, latex=latex)


def _write(summary: Report, target: Path, clips: pd.DataFrame | None, audio: Audio, *, latex: bool) -> Path:
    drawings = draw_all(summary) + draw_trust(summary)
    sounds = _sounds(summary, _paths(clips), target, audio)
    _write_figures(drawings, target / "figures")
    methods = methods_of(summary)
    files.write_json(target / "report.json", summary.to_dict() | {"methods": plain(methods)})
    files.write_text(target / "report.md", render_markdown(summary, methods, drawings))
    files.write_text(target / "index.html", render_html(summary, methods, drawings, sounds))
    if latex or (target / PAPER).is_dir():
        write_paper(summary, methods, drawings, target / PAPER)
    return target / "index.html"


def _write_figures(drawings: Sequence[Drawing], folder: Path) -> None:
    """Write each figure as SVG, PDF and PNG, and delete those that an earlier report left."""
    for drawing in drawings:
        for ending, content in exports(drawing).items():
            files.write_bytes(folder / f"{drawing.name}.{ending}", content)
    shown = {drawing.name for drawing in drawings}
    for stale in {*folder.glob("*.svg"), *folder.glob("*.pdf"), *folder.glob("*.png")}:
        if stale.stem not in shown:
            stale.unlink(missing_ok=True)


def _check_found(folder: Path, recipes: Collection[str], found: Collection[str]) -> None:
    missing = sorted(set(recipes) - set(found))
    if missing:
        there = ", ".join(sorted({path.parent.name for path in folder.rglob("fold*-seed*.parquet")})) or "none"
        raise UserError(f"there are no runs of {', '.join(missing)} below {folder}; there are of: {there}.")
    if not found:
        raise UserError(
            f"there are no runs below {folder}; expected the folder of a protocol in which recipes were compared."
        )


def build_overview(
    folder: Path,
    *,
    recipes: Collection[str] = (),
    fusions: Iterable[str] = (),
    clips: pd.DataFrame | None = None,
    audio: Audio = "link",
    margin: float = MARGIN,
    latex: bool = False,
) -> Path:
    """Write the report of each protocol of a corpus, and an overview of all.

    Args:
        folder: ``<out>/<corpus>``.
        recipes: folder names of the recipes to show, in each protocol that has them; all if empty.
        fusions: recipes whose log-probabilities are averaged, as for
            :func:`serlab.report.overview.survey`.
        clips: the corpus's table, as for :func:`build`.
        audio: as for :func:`build`.
        margin: likewise.
        latex: likewise.

    Returns:
        The path of ``report/index.html`` below ``folder``; beside it lie ``report.md`` and
        ``report.json``.

    Raises:
        UserError, MachineError: as :func:`build`, and a fusion fits no protocol.
    """
    protocols = read_protocols(folder, recipes)
    there = {name: {run.path.parent.name for run in runs} for name, runs in protocols.items()}
    _check_found(folder, recipes, set().union(*there.values()))
    found = survey(protocols, fusions, margin=margin)
    _enter_fusions(files.whole(folder).parent, found)
    for name, shown in there.items():
        build(folder / name, recipes=shown, clips=clips, audio=audio, margin=margin, latex=latex)
    target = folder / "report"
    files.write_json(target / "report.json", found.to_dict())
    files.write_text(target / "report.md", markdown("overview.md.jinja", overview=found))
    files.write_text(target / "index.html", page("overview.html.jinja", overview=found))
    return target / "index.html"


def _enter_fusions(out: Path, found: Overview) -> None:
    """Write to the ledger what this overview evaluates on a test subset for the first time: means of models."""
    keys = ("corpus", "protocol", "hash", "fold", "seed")
    there = {tuple(line.get(key) for key in keys) for line in ledger.read(out)}
    corpus = {"corpus": found.corpus["name"], "fingerprint": found.corpus["fingerprint"]}
    for protocol in found.protocols:
        for fusion in protocol.fusions:
            about = {"recipe": fusion.name, "hash": fusion.hash, "protocol": protocol.name, **corpus}
            for run in fusion.runs if fusion.side == "test" else ():
                entry = {**about, "fold": run.fold, "seed": run.seed, "side": "test"}
                if tuple(entry[key] for key in keys) not in there:
                    ledger.enter(out, entry)


def render_html(
    summary: Report, methods: Methods, drawings: list[Drawing], sounds: Mapping[str, str] | None = None
) -> str:
    """The page.

    Args:
        summary: from :func:`serlab.report.summary.summarise`.
        methods: from :func:`serlab.report.methods.methods_of`.
        drawings: from :func:`serlab.report.figures.draw_all`.
        sounds: clip -> address for an audio element.
    """
    values = {"summary": summary, "titles": _titles(summary), "methods": methods, "drawings": drawings}
    return page("index.html.jinja", **values, sounds=sounds or {})


def render_markdown(summary: Report, methods: Methods, drawings: list[Drawing]) -> str:
    """The same as Markdown, with the figures as files in ``figures/``."""
    values = {"summary": summary, "titles": _titles(summary), "methods": methods, "drawings": drawings}
    return markdown("report.md.jinja", **values)


def page(template: str, **values: Any) -> str:
    """A page from a template; what users named is escaped."""
    colours = {"light": colour_variables(dark=False), "dark": colour_variables(dark=True)}
    return _environment(autoescape=True).get_template(template).render(**values, **colours)


def markdown(template: str, **values: Any) -> str:
    """Markdown from a template."""
    text = _environment(autoescape=False).get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _titles(summary: Report) -> dict[str, str]:
    return {recipe.name: recipe.title for recipe in summary.recipes}


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("serlab.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"not_shown": NOT_SHOWN, "metrics": list(METRICS.values()), "CORRELATION": words.CORRELATION}
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "interval": words.interval_text,
        "written": words.written,
        "p_value": words.p_value,
        "spans": words.spans,
        "attained": lambda sets: words.attained_text(sets.folds, alone=bool(sets.unattained)),
        "correlation": lambda score: words.interval_text(score, words.CORRELATION),
        "answer": answer_text,
        "needed": needed_text,
        "calibrated": calibration_text,
        "over_sentences": sentences_text,
        "scope": scope_text,
        "sentence": words.sentence,
        "gravity": GRAVITY.__getitem__,
        "kinds": kinds,
        "span": words.span,
        "people": words.people,
        "parts": words.parts,
        "corpus_title": words.corpus_title,
        "clock": lambda seconds: "–" if seconds is None else clock(seconds),
        "rate": lambda value: "–" if value is None else f"{value:.3g}",
        "wins": words.wins_text,
        "effect": lambda value: "–" if value is None else words.written(value, words.EFFECT_SIZE),
        "decibel": lambda value: "–" if value is None else words.written(value, words.DECIBEL),
        "size": lambda number: "–" if number is None else words.size(number),
        "settings": _settings,
        "chosen": words.chosen_text,
        "changes": changes_text,
        "weights": words.weights_text,
        "count": words.counted,
        "side": words.side_title,
        "md": _escape_markdown,
    }
    return environment


def _read_audit(folder: Path) -> dict[str, Any] | None:
    """What the leak audit found when the comparison was made; None where it was not."""
    try:
        found: dict[str, Any] = json.loads((folder / AUDIT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{folder / AUDIT} is not JSON ({error}); delete it and run the comparison again.") from error
    if not isinstance(found, dict) or not {"findings", "verdict"} <= found.keys():
        raise UserError(f"{folder / AUDIT} is not an audit of serlab; delete it and run the comparison again.")
    return found


def _paths(clips: pd.DataFrame | None) -> dict[str, str]:
    return {} if clips is None else dict(zip(clips["clip"], clips["path"], strict=True))


def _sounds(summary: Report, paths: Mapping[str, str], target: Path, audio: Audio) -> dict[str, str]:
    """Clip -> address of its sound, for the clips that the report lists."""
    if audio == "none":
        return {}
    listed = {entry.clip for recipe in summary.recipes for entry in recipe.worst}
    beside = [raters for recipe in summary.recipes if (raters := recipe.confidence.people)]
    listed |= {
        entry["clip"] for raters in beside for each in (raters.model_fails, raters.people_fail) for entry in each.first
    }
    address = embedded if audio == "embed" else lambda path: link_to(path, target)
    return {clip: address(Path(paths[clip])) for clip in sorted(listed) if paths.get(clip)}


def link_to(path: Path, start: Path) -> str:
    """Address of a file, relative to a page in the folder ``start``."""
    try:
        return quote(Path(os.path.relpath(path.resolve(), start.resolve())).as_posix())
    except ValueError:  # another drive
        return path.resolve().as_uri()


def embedded(path: Path) -> str:
    """A sound file as an address that contains it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot embed {path}: {error.strerror}; use {argument('audio', 'link')} or {argument('audio', 'none')}."
        ) from error
    kind = mimetypes.guess_type(path.name)[0] or "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _settings(values: Mapping[str, Any]) -> str:
    """What a machine or an installation consists of, in a line."""
    return ", ".join(f"{name} {'none' if value is None else value}" for name, value in values.items())


def _escape_markdown(text: object) -> str:
    r"""Text that Markdown shows as it is.

    >>> _escape_markdown("a|b")
    'a\\|b'
    """
    return _MARKDOWN_SPECIAL.sub(r"\\\1", str(text)).replace("\n", " ")
