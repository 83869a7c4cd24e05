"""The look at a corpus as a page, as Markdown, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from serlab.core import files
from serlab.report.exploring import Exploring
from serlab.report.exploring_figures import describe_points, draw_measures, draw_space
from serlab.report.render import Audio, embedded, link_to, markdown, page
from serlab.report.svg import export_svg


def write(view: Exploring, table: pd.DataFrame, folder: Path, paths: Mapping[str, str], audio: Audio) -> Path:
    """Write the page.

    Args:
        view: the corpus.
        table: its clips.
        folder: where the page goes; an older one is replaced.
        paths: file of each clip, for the clips to listen to.
        audio: how the page plays them.

    Returns:
        The path of ``index.html``; beside it are ``report.md``, ``report.json``, ``clips.csv`` and
        ``figures``.

    Raises:
        UserError: a clip to embed cannot be read.
        MachineError: the page cannot be written.
    """
    drawings, pictures = draw_measures(view), draw_space(view, table)
    contents = {drawing.name: export_svg(drawing) for drawing in drawings}
    contents |= {picture.name: picture.svg.encode() for picture in pictures}
    for stale in (folder / "figures").glob("*.svg"):
        if stale.stem not in contents:
            stale.unlink(missing_ok=True)
    for name, content in contents.items():
        files.write_bytes(folder / "figures" / f"{name}.svg", content)
    sounds = sounds_of(view, paths, folder, audio)
    values = {"view": view, "drawings": drawings, "pictures": pictures, "points": describe_points}
    files.write_text(folder / "clips.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    files.write_json(folder / "report.json", view.to_dict())
    files.write_text(folder / "report.md", markdown("exploring.md.jinja", **values))
    files.write_text(folder / "index.html", page("exploring.html.jinja", **values, sounds=sounds))
    return folder / "index.html"


def sounds_of(view: Exploring, paths: Mapping[str, str], folder: Path, audio: Audio) -> dict[str, str]:
    """Clip -> address of its sound, for the clips to listen to."""
    if audio == "none":
        return {}
    there = [(clip, Path(paths[clip])) for clip in view.listed if paths.get(clip)]
    return {clip: embedded(path) if audio == "embed" else link_to(path, folder) for clip, path in there}
