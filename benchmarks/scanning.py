"""First and repeated scan of a corpus against a loop over soundfile that fills a pandas table.

serlab also hashes every file; the loop does not. For both, the files are in the operating system's
cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import materials
from benchmarks.harness import Outcome, Size, Timing, alternate, ratios, seconds

_TOY = 20


def measure(size: Size, rows: Sequence[str], _folder: Path) -> dict[str, Outcome]:
    """Time the first scan, the repeated scan and the loop."""
    import pandas as pd
    import soundfile

    from serlab.corpora.scan import scan

    table = materials.corpus().clips
    paths = [path for path in table["path"] if path][: _TOY if size.tiny else None]
    again: list[float] = []

    def loop() -> pd.DataFrame:
        found = []
        for path in paths:
            info = soundfile.info(path)
            found.append({"path": path, "duration": info.duration, "sample_rate": info.samplerate})
        return pd.DataFrame(found)

    def first(_repeat: int) -> Timing:
        with materials.empty_cache():
            spent = seconds(lambda: scan(paths, "scan"))
            again.append(seconds(lambda: scan(paths, "scan again")))
        return Timing(spent, len(paths))

    def second(repeat: int) -> Timing:
        return Timing(again[repeat], len(paths))

    def peer(_repeat: int) -> Timing:
        return Timing(seconds(loop), len(paths))

    loop()
    timings = alternate({"corpus-scan-first": first, "corpus-scan-again": second, "peer": peer}, size.repeats)
    settings = {**materials.described(), "files": len(paths)}
    return {
        name: Outcome(
            {
                "seconds": [timing.seconds for timing in timings[name]],
                "ratio": ratios(timings[name], timings["peer"]),
            },
            {"serlab": timings[name], "peer": timings["peer"]},
            "file",
            settings,
            materials.notes(),
        )
        for name in rows
    }
