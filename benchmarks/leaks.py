"""``python -m benchmarks.leaks``: measure how reliably the audit finds copies, its threshold and its cost.

Copies of 400 clips of a corpus, one kind at a time, are searched for among all its clips under
other names. The threshold was set on 100 other clips. The script writes
``benchmarks/results/audit.json``, and the table and figures of docs/audit.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import soxr
from numpy.typing import NDArray

from benchmarks.copies import COPIES, TOGETHER, Sound
from benchmarks.harness import RESULTS, machine, seconds, versions
from benchmarks.leaks_page import publish
from benchmarks.materials import empty_cache
from serlab.audio import SAMPLE_RATE, Audio
from serlab.audio.fingerprints import RATE, Print, fingerprint
from serlab.core.files import write_json
from serlab.core.progress import bar, say, show
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.measures import measure
from serlab.recordings.index import candidates
from serlab.recordings.matching import SAME, aligned, same_recordings
from serlab.training.memory import PeakMemory

PLANTED, ASIDE = 400, 100
_COUNTS = (1_000, 10_000, 100_000)
_SPEEDS = np.geomspace(0.75, 1.33, 14)

Pairs = set[tuple[int, int]]


def main() -> None:
    """Run all measurements."""
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "threshold": SAME}
    corpus = load_corpus("crema-d")
    with empty_cache():
        result["first_seconds"] = seconds(lambda: _whole(corpus))
        result["again_seconds"] = seconds(lambda: _whole(corpus))
    corpora = [corpus, load_corpus("synthetic")]
    result["distribution"] = {each.name: _distribution(each) for each in corpora}
    result["recall"] = {each.name: _recall(each) for each in corpora}
    result["growth"] = _growth(corpus)
    write_json(RESULTS / "audit.json", result)
    publish(result)
    print(RESULTS / "audit.json")


def _whole(corpus: Corpus) -> object:
    from serlab.leaks import audit
    from serlab.protocols import default_protocol, split

    return audit(corpus, split(corpus, default_protocol(corpus)))


def _usable(corpus: Corpus) -> tuple[pd.DataFrame, list[Print]]:
    heard = measure(corpus)
    sound = [not what.fault for what in heard]
    return corpus.clips[sound].reset_index(drop=True), [what.fingerprint for what in heard if not what.fault]


def _order(count: int) -> NDArray[np.int64]:
    """Choose clips: the first hundred are held out for the threshold, the next ones get copies."""
    return np.random.default_rng(0).permutation(count)


def _recall(corpus: Corpus) -> list[dict[str, Any]]:
    """Count found copies and false pairs for each kind of copy."""
    clips, prints = _usable(corpus)
    chosen = np.sort(_order(len(clips))[ASIDE : ASIDE + PLANTED])
    sounds = [Audio.from_file(clips["path"][place]).samples for place in chosen]
    own: Pairs | None = None
    found = []
    with bar(f"copies in {corpus.name}", len(COPIES) + len(TOGETHER)) as progress:
        for kind, change in {**COPIES, **TOGETHER}.items():
            copies = [Audio.from_array(change(sound), SAMPLE_RATE).at(RATE) for sound in sounds]

            def samples_of(place: int, copies: Sequence[Sound] = copies) -> Sound:
                inside = place < len(clips)
                return _low(clips["path"][place]) if inside else copies[place - len(clips)]

            pairs = {(p.first, p.second) for p in same_recordings([*prints, *map(fingerprint, copies)], samples_of)}
            wanted = {(int(place), len(clips) + number) for number, place in enumerate(chosen)}
            own = {pair for pair in pairs if pair[1] < len(clips)} if own is None else own
            # A copy of a clip that the corpus has twice is a copy of both.
            double = {place for pair in own for place in pair}
            wrong = {pair for pair in pairs - wanted - own if pair[0] not in double}
            found.append(
                {
                    "kind": kind,
                    "changes": 3 if kind in TOGETHER else 1,
                    "planted": len(wanted),
                    "found": len(pairs & wanted),
                    "false": len(wrong),
                }
            )
            progress.advance(note=f"{kind}: {len(pairs & wanted)} of {len(wanted)}")
    return [{"own": sorted([clips["clip"][a], clips["clip"][b]] for a, b in own or ())}, *found]


def _distribution(corpus: Corpus) -> dict[str, list[float]]:
    """Correlate the held-out clips with their copies and with other takes of the sentence by the same speaker."""
    clips, _ = _usable(corpus)
    aside = _order(len(clips))[:ASIDE]
    copies, takes = [], []
    for place in aside:
        row = clips.loc[place]
        original, low = Audio.from_file(row["path"]).samples, _low(row["path"])
        copies += [
            aligned(low, Audio.from_array(change(original), SAMPLE_RATE).at(RATE))[0] for change in COPIES.values()
        ]
        copies += [
            aligned(low, Audio.from_array(change(original), SAMPLE_RATE).at(RATE))[0] for change in TOGETHER.values()
        ]
        others = clips[(clips["speaker"] == row["speaker"]) & (clips["sentence"] == row["sentence"])]
        takes += [aligned(low, _low(path))[0] for path in others["path"] if path != row["path"]]
    return {"copies": sorted(copies), "takes": sorted(takes)}


def _growth(corpus: Corpus) -> list[dict[str, float]]:
    """Measure time and peak memory of the search for increasing numbers of clips, real ones at changed speeds."""
    clips, _ = _usable(corpus)
    found = []
    for count in _COUNTS:
        prints: list[Print] = []
        for speed in _SPEEDS:
            prints += _at_speed(clips["path"].tolist(), speed, count - len(prints))
        with get_context("spawn").Pool(1) as pool:
            spent, peak, pairs = pool.apply(_search, (prints,))
        say(f"{count:,} clips: {spent:.1f} s, {peak:.0f} MB, {pairs} candidates")
        found.append({"clips": count, "seconds": spent, "megabytes": peak, "candidates": pairs})
    return found


def _at_speed(paths: Sequence[str], speed: float, most: int) -> list[Print]:
    played = round(RATE / speed)
    return [fingerprint(soxr.resample(_low(path), RATE, played, quality="HQ")) for path in paths[:most]]


def _search(prints: list[Print]) -> tuple[float, float, int]:
    start, peak = time.perf_counter(), PeakMemory()
    found = candidates(prints)
    return time.perf_counter() - start, peak.megabytes() or 0, len(found)


def _low(path: str) -> Sound:
    return Audio.from_file(path).at(RATE)


if __name__ == "__main__":
    show()
    main()
