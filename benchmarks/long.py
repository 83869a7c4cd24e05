"""``python -m benchmarks.long MODEL [--small MODEL] [--judge]``: an hour of audio, joined from clips with pauses.

Window, speech detector and smoothing are chosen on an hour of the fold's dev clips. ``--judge`` then predicts an hour
of its test clips with that choice, once, after a line in the ledger. Memory and time are those of ``serlab predict`` in
a process of its own; ten hours are the dev hour ten times. Each step that is done is kept, and the table in
docs/using.md is written from them.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from benchmarks.harness import HOME, RESULTS, machine, versions
from benchmarks.joined import Section, join
from benchmarks.memory import predict
from benchmarks.table import fill
from serlab import Model, load_corpus, load_model, split
from serlab.audio import SAMPLE_RATE
from serlab.core import UserError
from serlab.core.files import cache_folder, read_json, write_json
from serlab.core.progress import bar, say, show
from serlab.evaluation.diarization import DiarizationEvaluation, Span, evaluate_spans, timeline
from serlab.evaluation.spans import read_predicted
from serlab.model.segments import Segment, Segmenter, Segmenting
from serlab.tables import ledger

SEED, SECONDS, HOP = 0, 3600.0, 1.0
WINDOWS = (2.0, 3.0)
DETECTORS = ("none", "energy", "silero")
SMOOTHINGS: tuple[int | str, ...] = (1, 3, 5, "hmm")
RESULT = RESULTS / "long.json"
PAGE = HOME.parent / "docs" / "using.md"
MARKS = "<!-- long: written by python -m benchmarks.long -->", "<!-- end of long -->"
# For the small model: without overlap, because ten hours take long.
SMALL: dict[str, Any] = {"window": 2.0, "hop": 2.0, "vad": "energy"}
LENGTHS = (("1 min", 1), ("1 h", 60), ("10 h", 600))
_BLOCK = 60 * SAMPLE_RATE

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the steps that are left, and write result and table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long", description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="folder of a model that was trained on one fold")
    parser.add_argument("--small", type=Path, help="a fast model of the same fold, for ten hours")
    parser.add_argument("--judge", action="store_true", help="predict the test hour with the chosen options, once")
    parser.add_argument("--out", type=Path, default=HOME.parent / "results", help="folder of the ledger")
    given = parser.parse_args(arguments)
    show()
    found: Row = read_json(RESULT) if RESULT.exists() else {}
    work = Work(given.model, found)
    work.dev()
    for folder in (given.model, given.small):
        if folder is not None:
            work.memory(folder)
    if given.judge:
        work.judge(given.out)
    if "test" in found:
        fill(PAGE, *MARKS, render(found))
        say(f"the table is in {PAGE}")


class Work:
    """The steps, whose results are added to ``found`` and stored."""

    def __init__(self, folder: Path, found: Row) -> None:
        self.folder, self.found = folder, found
        self.model = load_model(folder)
        about = self.model.info
        origin = {
            "recipe": about.recipe, "hash": about.recipe_hash, "corpus": about.corpus, "protocol": about.protocol,
            "fold": about.fold, "seed": about.seed,
        }  # fmt: skip
        if found.setdefault("model", origin) != origin:
            raise UserError(f"{RESULT} is of another model; delete it to start again.")
        assert about.corpus
        assert about.protocol
        assert about.fold
        self.corpus = load_corpus(about.corpus)
        self.fold = split(self.corpus, about.protocol).folds[about.fold - 1]
        self.place = cache_folder() / "benchmarks" / "long"
        self.place.mkdir(parents=True, exist_ok=True)

    def keep(self) -> None:
        """Store what is done."""
        write_json(RESULT, self.found)

    def hour(self, side: str) -> tuple[Path, list[Section]]:
        """The joined recording of a subset."""
        clips = self.corpus.clips
        known = clips[
            clips["clip"].isin(set(getattr(self.fold, side)) - set(self.corpus.faults)) & (clips["path"] != "")
        ]
        path = self.place / f"{side}.wav"
        return path, join(known, SECONDS, SEED, path)

    def dev(self) -> None:
        """Evaluate every combination of options on the dev hour, and choose the one with the lowest error rate."""
        if "chosen" in self.found:
            return
        path, sections = self.hour("dev")
        rows = []
        for window in WINDOWS:
            scores = self._scores(path, window)
            for vad in DETECTORS:
                known = divided(path, Segmenting(window=window, hop=HOP, vad=vad), self.model, scores)
                for smoothing in SMOOTHINGS:
                    how = Segmenting(window=window, hop=HOP, vad=vad, smoothing=smoothing)
                    result = evaluated(smoothed(known, how, self.model.labels), sections)
                    rows.append({"window": window, "hop": HOP, "vad": vad, "smoothing": smoothing, **summary(result)})
                    say(f"{window:g} s, {vad}, {smoothing}: EDER {100 * result.eder.value:.1f} %")
        best = min(rows, key=lambda row: row["eder"])
        self.found |= {
            "speakers": len(sections),
            "dev": rows,
            "chosen": {name: best[name] for name in ("window", "hop", "vad", "smoothing")},
        }
        self.keep()

    def _scores(self, path: Path, window: float) -> Callable[[Sequence[NDArray[np.float32]]], list[Any]]:
        """The model's probabilities of all windows, computed once and found again by their samples."""
        stored = self.place / f"dev-{window:g}.npz"
        samples = soundfile.read(path, dtype="float32")[0]
        if not stored.exists():
            rows: list[list[float]] = []
            with bar(f"windows of {window:g} s", round(SECONDS / HOP)) as progress:
                for one in self.model.segments(samples, SAMPLE_RATE, window=window, hop=HOP, vad="none"):
                    rows.append([one.start, *(one.probabilities.values() or [np.nan] * len(self.model.labels))])
                    progress.advance()
            np.savez(stored.with_suffix(".part.npz"), rows=np.array(rows))
            stored.with_suffix(".part.npz").replace(stored)
        table = np.load(stored)["rows"]
        starts = np.rint(table[:, 0] * SAMPLE_RATE).astype(int)
        size = round(window * SAMPLE_RATE)
        known = {_key(samples[at : at + size]): row for at, row in zip(starts, table[:, 1:], strict=True)}
        return lambda windows: [known[_key(one)] for one in windows]

    def memory(self, folder: Path) -> None:
        """Peak memory and time of ``serlab predict`` on one minute and, for the small model, one hour and ten."""
        model = load_model(folder)
        name = str(model.info.recipe)
        rows = self.found.setdefault("memory", {}).setdefault(name, {})
        source = self.hour("dev")[0]
        for title, minutes in LENGTHS:
            if title in rows or (folder == self.folder and minutes > 1):
                continue
            path = self.place / f"{minutes}.wav"
            repeated(source, minutes * 60, path)
            how = self.found["chosen"] if folder == self.folder else SMALL
            table = self.place / f"{name}-{minutes}.csv"
            table.unlink(missing_ok=True)
            peak, wall, cpu = predict(folder, path, table, *options(how))
            rows[title] = {"peak_mib": peak, "seconds": wall, "processor_seconds": cpu, "share": cpu / (60 * minutes)}
            path.unlink()
            self.keep()
            say(f"{name}, {title}: peak of {peak:.0f} MiB, {wall:.0f} s")

    def judge(self, out: Path) -> None:
        """Predict the test hour, once."""
        about, how, note = self.found["model"], self.found["chosen"], f"an hour joined from test clips, seed {SEED}"
        before = [line for line in ledger.read(out) if str(line.get("note", "")).startswith(note)]
        if "test" in self.found or any(about.items() <= line.items() for line in before):
            say("the test hour has been predicted already; it is not done again")
            return
        path, sections = self.hour("test")
        fingerprint = {"fingerprint": self.corpus.fingerprint, "precision": self.model.precision, "side": "test"}
        ledger.enter(out, {**about, **fingerprint, "note": f"{note}: {' '.join(options(how))}"})
        table = self.place / "test.csv"
        table.unlink(missing_ok=True)
        peak, wall, cpu = predict(self.folder, path, table, *options(how))
        (predicted,) = read_predicted(table).values()
        self.found["test"] = {
            **summary(evaluated(predicted, sections)),
            "peak_mib": peak, "seconds": wall, "processor_seconds": cpu, "share": cpu / SECONDS,
            "precision": self.model.precision, "machine": machine(), "versions": versions(),
        }  # fmt: skip
        self.keep()


def divided(path: Path, how: Segmenting, model: Model, scores: Any) -> list[Segment]:
    """Segments of a recording with probabilities that are known."""
    segmenter = Segmenter(how, model.labels, scores, lambda _: True)
    found = []
    for block in soundfile.blocks(path, _BLOCK, dtype="float32"):
        found += segmenter.feed(block)
    return [*found, *segmenter.flush()]


def evaluated(spans: list[Span], sections: Sequence[Section]) -> DiarizationEvaluation:
    """The error rate with its interval over speakers."""
    return evaluate_spans(
        {section.speaker: section.spans for section in sections},
        {section.speaker: section.cut(spans) for section in sections},
    )


def summary(found: DiarizationEvaluation) -> Row:
    """Rate, interval and shares of the kinds of error."""
    errors = found.errors
    kinds = {name: getattr(errors, name) / errors.total for name in ("missed", "false_alarm", "confusion")}
    return {"eder": found.eder.value, "low": found.eder.low, "high": found.eder.high, **kinds}


def options(how: Row) -> list[str]:
    """The options of ``serlab predict``."""
    return [
        part
        for name, value in how.items()
        for part in (f"--{name}", f"{value:g}" if name in ("window", "hop") else str(value))
    ]


def repeated(source: Path, seconds: int, path: Path) -> None:
    """Write the beginning of a recording, or the recording several times, up to a length."""
    left = seconds * SAMPLE_RATE
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left:
            for block in soundfile.blocks(source, _BLOCK, dtype="int16"):
                file.write(block[:left])
                left -= min(left, len(block))


def smoothed(segments: Sequence[Segment], how: Segmenting, labels: Sequence[str]) -> list[Span]:
    """Spans of segments after smoothing, as :class:`Segmenter` smooths them."""
    average = how.average(len(labels))
    rows = [np.array([*one.probabilities.values()]) if one.probabilities else None for one in segments]
    found = []
    for place, one in enumerate(segments):
        shares = average(rows[place : place + average.ahead + 1])
        found.append(Span(one.start, one.end, None if shares is None else labels[int(shares.argmax())]))
    return timeline(found)


def _key(samples: NDArray[np.float32]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(samples).tobytes(), digest_size=16).digest()


def render(found: Row) -> str:
    """The tables of docs/using.md."""
    about, how, test = found["model"], found["chosen"], found["test"]
    where = f"{about['corpus'].upper()}, `{about['protocol']}`, fold {about['fold']}, `{about['recipe']}`"
    lines = [f"{where}, seed {about['seed']}; the order of the recording has seed {SEED}.", ""]
    lines += [
        "| window | speech found by | no smoothing | median of 3 | median of 5 | `hmm` |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    table = pd.DataFrame(found["dev"])
    for window in WINDOWS:
        for vad in DETECTORS:
            rows = table[(table["window"] == window) & (table["vad"] == vad)].to_dict("records")
            cells = [_interval(row, all(row[key] == how[key] for key in how)) for row in rows]
            lines.append(f"| {window:g} s | {'not asked' if vad == 'none' else vad} | {' | '.join(cells)} |")
    lines += [
        "",
        f"EDER on the dev hour in per cent, with 95 % intervals over its {found['speakers']} speakers. The lowest, in "
        f"bold, fixed the options for the test hour. Its EDER is {_interval(test)}: {_share(test['missed'])} missed, "
        f"{_share(test['false_alarm'])} false alarm, {_share(test['confusion'])} confusion.",
        "",
        "| Model | Length | Peak memory | Processor time with start-up, share of the length |",
        "|---|--:|--:|--:|",
    ]
    for name, rows in found["memory"].items():
        for length, row in rows.items():
            lines.append(f"| `{name}` | {length} | {row['peak_mib']:,.0f} MiB | {_share(row['share'])} |")
    lines.append(f"| `{about['recipe']}` | 1 h (test) | {test['peak_mib']:,.0f} MiB | {_share(test['share'])} |")
    m = test["machine"]
    small = " ".join(options(SMALL))
    lines += [
        "",
        f"`serlab predict --out x.csv` in {test['precision']} on one thread ({m['processor']}), with the options in "
        f"bold; other models: dev clips, again from the start, with `{small}`.",
    ]
    return "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(row: Mapping[Any, Any], bold: bool = False) -> str:
    mark = "**" if bold else ""
    return f"{mark}{100 * row['eder']:.1f}{mark} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


if __name__ == "__main__":
    main()
