"""``python -m benchmarks.frontier CLIPS``: size, processor time and published UAR of recipes, as a table and a picture.

CLIPS is a folder of clips. Processor time is that of one clip at a time on one thread, from samples to logits, and does
not depend on the values of weights. Only the shipped model has trained ones here: the others have random weights, or
pretrained ones with a random head. UAR comes from ``results/``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serlab.approaches.base import Fitted
from serlab.approaches.encoder.network import from_recipe
from serlab.approaches.network import FittedNetwork
from serlab.approaches.resnet.network import ResNet
from serlab.core.files import write_json
from serlab.core.precision import Precision
from serlab.export.checking import given_clips
from serlab.model.box import FOLDER
from serlab.model.folder import load
from serlab.recipes import load_recipe
from serlab.report.svg import SERIES, drawing_of, export_svg, settings

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "results" / "crema-d" / "emo-superb-5" / "report" / "report.json"
STORED = Path(__file__).parent / "results" / "frontier.json"
PICTURE = HOME / "docs" / "images" / "frontier.svg"
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad")
CLIPS = 40
TICKS = (5, 10, 20, 50)
APART = 1.15
"""Ratio of two times above which both marks have room for their labels."""
RECIPES: dict[str, tuple[Precision, ...]] = {
    "box": ("fp32", "bf16"),
    "wav2vec2-small-distilled-long": ("fp32", "bf16", "int8"),
    "resnet18-distilled": ("fp32", "bf16"),
    "whisper-base-long": ("fp32", "bf16", "int8"),
}
"""Recipes and the precisions that they can predict in."""


@dataclass(frozen=True)
class Point:
    """One recipe in one precision.

    Attributes:
        recipe: its name.
        precision: of the matrix products.
        parameters: how many there are.
        megabytes: size of its weights on disk.
        milliseconds: processor time per clip, median.
    """

    recipe: str
    precision: str
    parameters: int
    megabytes: float
    milliseconds: float

    @property
    def area(self) -> float:
        """Area of its mark, in square points."""
        return 10 * self.megabytes


def main(sounds: Path) -> None:
    """Measure all points, store them, and draw the picture."""
    torch.set_num_threads(1)
    clips = [clip.samples for clip in given_clips([sounds])[:CLIPS]]
    points = [_measured(name, precision, clips) for name, precisions in RECIPES.items() for precision in precisions]
    about = {"clips": len(clips), "processor": _processor(), "torch": torch.__version__}
    write_json(STORED, {**about, "points": [vars(point) for point in points]})
    for point in points:
        print(
            f"| {point.recipe} | {point.precision} | {point.parameters / 1e6:.1f} | {point.megabytes:.1f} | "
            f"{point.milliseconds:.1f} |"
        )
    draw(points)


def draw(points: list[Point]) -> None:
    """UAR against processor time; the area of a mark is the size on disk."""
    from matplotlib.figure import Figure

    report = json.loads(RESULTS.read_text(encoding="utf-8"))
    scores = {recipe["name"]: recipe["scores"]["uar"] for recipe in report["recipes"]}
    scores["box"] = scores["resnet18-small-distilled"]
    names = list(dict.fromkeys(point.recipe for point in points))
    with settings():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for point in points:
            score, colour = scores[point.recipe], SERIES[names.index(point.recipe)]
            at, value = point.milliseconds, 100 * score["value"]
            if point.precision == "fp32":
                ends = [100 * score["low"], 100 * score["high"]]
                axes.plot([at, at], ends, color=colour, linewidth=1)
                axes.annotate(point.recipe, (at, ends[0]), (0, -12), textcoords="offset points", ha="center", size=8)
            filled = "none" if point.precision == "int8" else colour
            axes.scatter(at, value, s=point.area, facecolors=filled, edgecolors=colour, alpha=0.75, zorder=3)
        for near in _neighbours(points):
            at, value = near[0].milliseconds, 100 * scores[near[0].recipe]["value"]
            above = (3, near[0].area ** 0.5 / 2 + 3)
            words = ", ".join(point.precision for point in near)
            axes.annotate(words, (at, value), above, textcoords="offset points", size=8)
        axes.set_xscale("log")
        axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
        axes.set_xticks([], minor=True)
        axes.set_xlim(TICKS[0], TICKS[-1])
        axes.set_xlabel("processor time per clip of 2.5 s, one thread, ms")
        axes.set_ylabel("UAR on unseen actors, per cent")
        axes.margins(0.15)
        words = "UAR against processor time per clip for the shipped model's recipe, ResNet18 and Whisper-base"
        PICTURE.write_bytes(export_svg(drawing_of(figure, "frontier", "Size, time and UAR", "", words)))


def _neighbours(points: list[Point]) -> list[list[Point]]:
    """Points of one recipe whose marks are close, the fastest first: they share a label."""
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda point: (point.recipe, point.milliseconds)):
        last = groups[-1][-1] if groups else None
        if last and last.recipe == point.recipe and point.milliseconds < APART * last.milliseconds:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def _measured(name: str, precision: Precision, clips: list[Any]) -> Point:
    fitted = load(FOLDER, precision) if name == "box" else _untrained(name, precision)
    megabytes = _size(name, fitted, precision) if name != "box" else (FOLDER / "model.safetensors").stat().st_size / 1e6
    fitted.logits([fitted.frontend(clips[0])])
    seconds = []
    for clip in clips:
        start = time.process_time()
        fitted.logits([fitted.frontend(clip)])
        seconds.append(time.process_time() - start)
    return Point(name, precision, fitted.parameters[0], round(megabytes, 1), round(1000 * float(np.median(seconds)), 2))


def _untrained(name: str, precision: Precision) -> Fitted:
    model = load_recipe(name).model
    if model.kind == "resnet":
        bands = model.logmel.bands
        return FittedNetwork(ResNet(model, LABELS, torch.zeros(bands), torch.ones(bands)), LABELS, precision)
    return FittedNetwork(from_recipe(model, LABELS, precision, recipe=name), LABELS, precision)


def _size(name: str, fitted: Fitted, precision: Precision) -> float:
    """Megabytes of the saved weights; those of int8 are quantised when they are loaded."""
    if precision == "int8":
        return _size(name, _untrained(name, "fp32"), "fp32")
    with tempfile.TemporaryDirectory() as place:
        fitted.save(Path(place))
        return sum(path.stat().st_size for path in Path(place).rglob("*.safetensors")) / 1e6


def _processor() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name") or "unknown")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.frontier CLIPS, a folder of clips")
    main(Path(sys.argv[1]))
