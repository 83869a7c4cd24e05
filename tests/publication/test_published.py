"""The README's figures, checked without serlab: labels from file names, actors by fold, UAR by scikit-learn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from publication.__main__ import fill
from scipy.optimize import minimize
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

HOME = Path(__file__).parents[2]
TABLES = HOME / "results" / "crema-d" / "emo-superb-5"
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
BLOCKS = ((1001, 1018), (1019, 1036), (1037, 1054), (1055, 1072), (1073, 1091))
ROW = re.compile(
    r"^\| [^|]*\(`(?P<name>[^`]+)`\) \|[^|]*\| (?P<folds>[^;|]+); (?P<seeds>[^|]+) \| \*\*(?P<uar>[\d.]+)\*\* \([^)]*\)"
    r" \| (?P<wa>[\d.]+) \| (?P<f1>[\d.]+) \|"
)

GAIN = re.compile(
    r"^\| `(?P<name>[^`]+)` \|[^|]*\| (?P<uar>[\d.]+) \([^)]*\) \| `(?P<member>[^`]+)` \| (?P<gain>[−\d.]+) \([^)]*\)"
    r" \| (?P<folds>[^;|]+); (?P<seeds>[^|]+) \|"
)


def numbers(text: str) -> list[int]:
    """``1 to 3, 5`` as whole numbers."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.strip().partition(" to ")
        found += range(int(low), int(high or low) + 1)
    return found


def published(page: str, block: str, row: re.Pattern[str]) -> list[dict[str, str]]:
    begin, end = f"<!-- {block}: written by make report-cremad -->", f"<!-- end of {block} -->"
    body = (HOME / page).read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    return [match.groupdict() for line in body.splitlines() if (match := row.match(line))]


SCORES = published("docs/cremad.md", "scores", ROW)
GAINS = published("docs/cremad.md", "gains", GAIN)


def judged_rows(name: str, fold: int, seed: int, side: str = "test") -> pd.DataFrame:
    rows = pd.read_parquet(TABLES / name / f"fold{fold}-seed{seed}.parquet").query("side == @side").sort_values("clip")
    parts = rows["clip"].str.split("_")
    first, last = BLOCKS[fold - 1 if side == "test" else fold % 5]
    actors = parts.str[0].astype(int)
    assert actors.between(first, last).all()
    assert actors.nunique() == last - first + 1
    assert (parts.str[2].map(EMOTIONS) == rows["label"]).all()
    return rows.assign(truth=parts.str[2].map(EMOTIONS))


def log_probabilities(rows: pd.DataFrame) -> np.ndarray:
    scores = rows[[f"logit_{label}" for label in EMOTIONS.values()]].to_numpy(np.float64)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def weights_on_dev(names: list[str], fold: int, seed: int) -> np.ndarray:
    dev = [judged_rows(name, fold, seed, "dev") for name in names]
    logs = np.array([log_probabilities(part) for part in dev])

    def loss(weights: np.ndarray) -> float:
        scores = np.einsum("m,mck->ck", weights, logs)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return log_loss(dev[0]["truth"], shares / shares.sum(axis=1, keepdims=True), labels=list(EMOTIONS.values()))

    return minimize(loss, np.ones(len(names)), method="Nelder-Mead").x


def pooled(row: dict[str, str], seeds: list[int]) -> tuple[pd.Series, np.ndarray]:
    """Truth and guesses over all folds: recipes by the mean of log-probabilities, seeds by that of probabilities."""
    names = row["name"].removesuffix("@dev").partition(" x ")[0].split("+")
    truth, guesses = [], []
    for fold in numbers(row["folds"]):
        parts = [judged_rows(name, fold, seed) for name in names for seed in seeds]
        scores = np.array([log_probabilities(part) for part in parts])
        if row["name"].endswith("@dev"):
            scores = weights_on_dev(names, fold, *seeds)[:, None, None] * scores
        mean = (np.exp(scores) if len(seeds) > 1 else scores).mean(axis=0)
        truth.append(parts[0]["truth"])
        guesses.append(np.array(list(EMOTIONS.values()))[mean.argmax(axis=1)])
    return pd.concat(truth), np.concatenate(guesses)


def test_there_is_a_table_to_check() -> None:
    assert {"whisper-base", "resnet18", "mfcc-svm"} <= {row["name"] for row in SCORES}
    assert {"resnet18+whisper-base", "resnet18+whisper-base@dev"} <= {row["name"] for row in GAINS}


@pytest.mark.parametrize("row", SCORES, ids=lambda row: row["name"])
def test_the_published_figures_are_those_of_the_tables(row: dict[str, str]) -> None:
    scores = []
    models = [numbers(row["seeds"])] if " x " in row["name"] else [[seed] for seed in numbers(row["seeds"])]
    for seeds in models:
        truth, guess = pooled(row, seeds)
        assert not truth.index.empty
        scores.append(
            (
                recall_score(truth, guess, average="macro"),
                accuracy_score(truth, guess),
                f1_score(truth, guess, average="macro"),
            )
        )
    expected = 100 * np.mean(scores, axis=0)
    np.testing.assert_allclose([float(row["uar"]), float(row["wa"]), float(row["f1"])], expected, atol=0.0501)


@pytest.mark.parametrize("row", GAINS, ids=lambda row: f"{row['name']} less {row['member']}")
def test_the_published_gains_of_fusions_are_those_of_the_tables(row: dict[str, str]) -> None:
    (seed,) = numbers(row["seeds"])
    fused, member = (
        recall_score(*pooled(row | {"name": row[of]}, [seed]), average="macro") for of in ("name", "member")
    )
    assert float(row["uar"]) == pytest.approx(100 * fused, abs=0.0501)
    assert float(row["gain"].replace("−", "-")) == pytest.approx(100 * (fused - member), abs=0.0501)


def test_only_what_is_between_marks_is_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- scores: written by make report-cremad -->\nold\n<!-- end of scores -->\nAfter.\n")
    fill(page, {"scores": "new", "folds": "nowhere"})
    fill(page, {"scores": "newer"})
    text = page.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert text.count("newer") == 1
    assert "old" not in text


def test_a_page_without_its_second_mark_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- scores: written by make report-cremad -->\n")
    with pytest.raises(SystemExit, match="end of scores"):
        fill(page, {"scores": "new"})
