"""``python -m benchmarks.flips MODEL``: how bf16 and int8 change a trained model's predictions on a dev subset.

It uses the dev subset, because test data is read once and not for this purpose.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from serlab.audio import Audio
from serlab.core import SerlabError, UserError
from serlab.core.files import write_json
from serlab.core.progress import bar, say, show
from serlab.corpora import load_corpus
from serlab.evaluation.bootstrap import differences
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.metrics import UAR, Format, confusion, uar
from serlab.model.folder import load
from serlab.protocols import split

PRECISIONS = ("fp32", "bf16", "int8")


def main(folder: Path) -> None:
    """Predict in each precision; print the table and store it with the other results."""
    signature = json.loads((folder / "serlab.json").read_text(encoding="utf-8"))["signature"]
    corpus = load_corpus(signature["corpus"]["name"])
    fold = split(corpus, signature["protocol"]["name"]).folds[signature["fold"] - 1]
    left_out = {entry["clip"] for entry in signature["exclusions"]}
    clips = corpus.clips.set_index("clip").loc[[clip for clip in fold.dev if clip not in left_out]]
    truth = clips["label"].map({label: index for index, label in enumerate(corpus.labels)}).to_numpy()
    rows: list[dict[str, Any]] = []
    exact, judged = np.empty(0), {}
    for precision in PRECISIONS:
        try:
            classifier = load(folder, precision)
        except UserError as error:
            say(f"{precision} is left out: {error}")
            continue
        features: list[Any] = []
        start = time.perf_counter()
        with bar(f"{precision}: features", len(clips)) as progress:
            for path in clips["path"]:
                features.append(classifier.frontend(Audio.from_file(path).samples))
                progress.advance()
        shares = softmax(classifier.logits(features).astype(np.float64), axis=1)
        seconds = time.perf_counter() - start
        exact = shares if precision == "fp32" else exact
        said = shares.argmax(axis=1)
        judged[precision] = count_by_speaker(
            pd.DataFrame(
                {
                    "speaker": clips["speaker"].to_numpy(),
                    "label": clips["label"].to_numpy(),
                    "predicted": np.array(corpus.labels, object)[said],
                    "fold": fold.number,
                    "seed": 0,
                }
            ),
            corpus.labels,
        )
        beside = differences(judged[precision], judged["fp32"], metrics={UAR.key: UAR})[UAR.key]
        rows.append(
            {
                "precision": precision,
                "uar": float(uar(confusion(truth, said, len(corpus.labels)))),
                "uar_less_fp32": [beside.value, beside.low, beside.high],
                "flips": float((said != exact.argmax(axis=1)).mean()),
                "largest_probability_difference": float(np.abs(shares - exact).max()),
                "seconds_per_clip": seconds / len(clips),
            }
        )
    recipe = signature["recipe"]
    print(f"{recipe['title']} ({recipe['hash'][:8]}), fold {fold.number}, dev side, {len(clips):,} clips")
    for row in rows:
        print(
            f"{row['precision']:>5}  UAR {100 * row['uar']:.2f}, less fp32 {_points(row['uar_less_fp32'])}  "
            f"flipped {100 * row['flips']:.2f} %  "
            f"largest difference of a probability {row['largest_probability_difference']:.4f}"
        )
    result = {"recipe": recipe["name"], "hash": recipe["hash"], "corpus": corpus.copy, "fold": fold.number}
    target = Path(__file__).parent / "results" / f"flips-{recipe['name']}.json"
    write_json(target, {**result, "side": "dev", "clips": len(clips), "rows": rows})


def _points(values: list[float | None]) -> str:
    """A difference and its interval over speakers, in points."""
    form = Format(100, 2)
    value, low, high = ("–" if value is None else form(value, "+") for value in values)
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    show()
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.flips MODEL, a model folder of a comparison")
    try:
        main(Path(sys.argv[1]))
    except SerlabError as error:
        sys.exit(f"benchmarks: {error}")
