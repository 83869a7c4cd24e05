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
from scipy.special import softmax

from serlab.audio import Audio
from serlab.core.files import write_json
from serlab.core.progress import bar
from serlab.corpora import load_corpus
from serlab.evaluation.metrics import confusion, uar
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
    exact = np.empty(0)
    for precision in PRECISIONS:
        classifier, features = load(folder, precision), []
        start = time.perf_counter()
        with bar(f"{precision}: features", len(clips)) as progress:
            for path in clips["path"]:
                features.append(classifier.frontend(Audio.from_file(path).samples))
                progress.advance()
        shares = softmax(classifier.logits(features).astype(np.float64), axis=1)
        seconds = time.perf_counter() - start
        exact = shares if precision == "fp32" else exact
        said = shares.argmax(axis=1)
        rows.append(
            {
                "precision": precision,
                "uar": float(uar(confusion(truth, said, len(corpus.labels)))),
                "flips": float((said != exact.argmax(axis=1)).mean()),
                "largest_probability_difference": float(np.abs(shares - exact).max()),
                "seconds_per_clip": seconds / len(clips),
            }
        )
    recipe = signature["recipe"]
    print(f"{recipe['title']} ({recipe['hash'][:8]}), fold {fold.number}, dev side, {len(clips):,} clips")
    for row in rows:
        print(
            f"{row['precision']:>5}  UAR {100 * row['uar']:.2f}  flipped {100 * row['flips']:.2f} %  "
            f"largest difference of a probability {row['largest_probability_difference']:.4f}"
        )
    result = {"recipe": recipe["name"], "hash": recipe["hash"], "corpus": corpus.copy, "fold": fold.number}
    target = Path(__file__).parent / "results" / f"flips-{recipe['name']}.json"
    write_json(target, {**result, "side": "dev", "clips": len(clips), "rows": rows})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
