"""Terminal, page, Markdown and JSON say the same of tables that others made, whatever these lack."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import serlab.report.summary as report_summary
from serlab.core import UserError
from serlab.evaluation.judge import evaluate_all
from serlab.evaluation.lines import evaluation_lines, pair_lines
from serlab.evaluation.metrics import METRICS
from serlab.evaluation.prepare import prepare_all
from serlab.report.foreign import foreign_runs, judged_as
from serlab.report.methods import methods_of
from serlab.report.render import render_html, render_markdown
from serlab.report.summary import Report, summarise

LABELS = ("angry", "calm", "sad")
NAMES = ("mine", "theirs", "third", "fourth")


@st.composite
def tables(draw: st.DrawFn) -> list[pd.DataFrame]:
    """Two to four models' predictions of the same clips, each with its own gaps."""
    speakers = draw(st.sampled_from([2, 11, 14]))
    clips = pd.DataFrame(
        [(f"s{s:02d}-{k}-{label}", f"s{s:02d}", label) for s in range(speakers) for k in (0, 1) for label in LABELS],
        columns=["clip", "speaker", "label"],
    )
    return [draw(_table(clips)) for _ in range(draw(st.integers(2, 4)))]


@st.composite
def _table(draw: st.DrawFn, clips: pd.DataFrame) -> pd.DataFrame:
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    skill = draw(st.sampled_from([0.0, 0.6, 3.0]))
    parts = []
    for seed in range(draw(st.sampled_from([1, 1, 2]))):
        # Whole numbers, so that scores tie.
        scores = random.integers(0, 3, (len(clips), len(LABELS)))
        scores = scores + np.round(skill * (clips["label"].to_numpy()[:, None] == np.array(LABELS)))
        part = clips.assign(seed=seed, **{f"logit_{label}": scores[:, i] for i, label in enumerate(LABELS)})
        parts.append(part.drop(index=random.choice(len(clips), draw(st.sampled_from([0, 0, 1, 6])), replace=False)))
    table = pd.concat(parts, ignore_index=True)
    if draw(st.booleans()):
        dev = table.assign(clip="dev-" + table["clip"], speaker="d" + table["speaker"], side="dev")
        table = pd.concat([table.assign(side="test"), dev], ignore_index=True)
    number = table["speaker"].str[-2:].astype(int) + draw(st.integers(0, 2))
    folds = draw(st.sampled_from(["none", "from 0", "from 1", "sessions"]))
    if folds != "none":
        table["fold"] = {
            "from 0": number % 2,
            "from 1": number % 3 + 1,
            "sessions": "Session" + (number % 2).astype(str),
        }[folds]
    without = [name for name in ("speaker",) if draw(st.integers(0, 4)) == 0]
    without += ["seed"] if table["seed"].nunique() == 1 and draw(st.booleans()) else []
    return table.drop(columns=without).sample(frac=1, random_state=draw(st.integers(0, 9)))


class Page(HTMLParser):
    """The page's visible text, the cells of the tables of scores and differences, and its heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.heading = ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("td", "th", "small", "h1"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "small", "h1"):
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if "h1" in self._inside:
            self.heading += data
        if self._inside and self._inside[-1] in ("td", "th", "small") and self.rows:
            self.rows[-1][-1] += f" {data}" if self._inside[-1] == "small" else data


def numbers(text: str) -> list[float]:
    """A value and its interval's ends in a cell or a line, of which page and terminal write the minus differently."""
    return [float(number.replace("−", "-")) for number in re.findall(r"(?<![\w.])[−-]?\d+\.\d+", text)]


def shown(report: Report) -> tuple[dict[str, Any], str, Page]:
    return (
        report.to_dict(),
        render_markdown(report, methods_of(report), []),
        Page(render_html(report, methods_of(report), [])),
    )


@settings(
    derandomize=True,
    max_examples=12,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(tables())
def test_page_markdown_json_and_terminal_agree(
    tmp_path_factory: pytest.TempPathFactory, made: list[pd.DataFrame]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    paths = [folder / f"{name}.csv" for name, _ in zip(NAMES, made, strict=False)]
    for path, table in zip(paths, made, strict=True):
        table.to_csv(path, index=False)
    prepared = prepare_all(paths, None, None, "test")
    try:
        results, pairs = evaluate_all(prepared)
    except UserError as refusal:
        # The report has the better model first.
        with pytest.raises(UserError, match=str(refusal)[-30:]):
            summarise(foreign_runs(prepared))
        return
    data, text, page = shown(summarise(foreign_runs(prepared)))
    rows = {row[0].split(" not shown")[0].strip(): row for row in reversed(page.rows) if len(row) > len(METRICS)}
    lines = {
        line.split(" | ")[0].strip("| ").split(",")[0]: line for line in reversed(text.splitlines()) if "|" in line
    }
    for path, table in zip(paths, made, strict=True):
        result, recipe = results[str(path)], next(r for r in data["recipes"] if r["title"] == path.stem)
        _check_scores(result, recipe, rows[path.stem], lines[path.stem])
        judged = table[table["side"] == "test"] if "side" in table else table
        named = sorted(judged["fold"].unique().tolist()) if "fold" in table else []
        assert recipe["folds"] == named
        assert recipe["seeds"] == (sorted(table["seed"].unique()) if "seed" in table else [])
    for (one, other), pair in zip(combinations(range(len(paths)), 2), pairs, strict=True):
        _check_pair(pair, paths[one].stem, paths[other].stem, data, page, text)
    assert data["answer"]["finding"].lower() in page.heading.lower()
    assert data["answer"]["text"].replace("−", "-")[:40] in text.replace("−", "-").replace("\\", "")


@settings(
    derandomize=True,
    max_examples=6,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(tables())
def test_a_report_takes_over_what_evaluate_has_found(made: list[pd.DataFrame]) -> None:
    prepared = prepare_all(made, None, None, "test")
    try:
        results, pairs = evaluate_all(prepared)
    except UserError:
        return
    alone = summarise(foreign_runs(prepared)).to_dict()
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(report_summary, "describe_trust")  # no table is judged twice
        again = summarise(foreign_runs(prepared), judged=judged_as(prepared, results, pairs)).to_dict()
    assert _rounded(again) == _rounded(alone)


def _rounded(found: Any) -> Any:
    """The same with numbers to 9 digits: rows in another order give other last digits."""
    if isinstance(found, dict):
        return {key: _rounded(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_rounded(value) for value in found]
    return round(found, 9) if isinstance(found, float) else found


def _check_scores(result: Any, recipe: dict[str, Any], row: list[str], line: str) -> None:
    terminal = evaluation_lines(result)
    for place, (key, metric) in enumerate(METRICS.items(), start=1):
        score = result.scores[key]
        assert recipe["scores"][key]["value"] == pytest.approx(score.value, abs=1e-12)
        for end in ("low", "high"):
            assert recipe["scores"][key][end] == pytest.approx(getattr(score, end), abs=1e-9)
        said = numbers(next(each for each in terminal if each.startswith(metric.title)).replace("95 %", ""))
        assert numbers(row[place]) == said == numbers(line.split(" | ")[place])
    learned = "is above chance" in "\n".join(terminal), "not shown to be above chance" in "\n".join(terminal)
    assert learned == (recipe["learned"] is True, recipe["learned"] is False)
    assert ("not shown to be above chance" in row[0], "not shown to be above chance" in line) == (learned[1],) * 2
    assert result.speakers == recipe["speakers"]
    assert result.clips == recipe["clips"]


def _check_pair(pair: Any, one: str, other: str, data: dict[str, Any], page: Page, text: str) -> None:
    """The report puts the better model first; the terminal keeps the user's order."""
    found = next(p for p in data["pairs"] if {p["first"], p["second"]} == {one, other})
    sign = 1 if found["first"] == one else -1
    ends = ("low", "high")[::sign]
    terminal = pair_lines(pair)
    first, second = found["first"], found["second"]
    row = next(row for row in page.rows if row and row[0] == f"{first} − {second}")
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} | {second} |"))
    for place, (key, metric) in enumerate(METRICS.items(), start=1):
        difference = pair.comparison.differences[key]
        assert found["differences"][key]["value"] == pytest.approx(sign * difference.value, abs=1e-12)
        for mine, theirs in zip(("low", "high"), ends, strict=True):
            end = getattr(difference, theirs)
            assert found["differences"][key][mine] == pytest.approx(None if end is None else sign * end, abs=1e-9)
        said = numbers(next(each for each in terminal if each.startswith(metric.title)).replace("95 %", ""))
        expected = [sign * said[0], *(sign * end for end in said[1:][::sign])]
        assert numbers(row[place]) == numbers(line.split(" | ")[place + 1]) == pytest.approx(expected, abs=1e-9)
    opposite = {"better": "worse", "worse": "better"}
    answer = pair.comparison.answer
    assert found["answer"] == (answer if sign == 1 else opposite.get(answer, answer))
    for key in ("p_holm", "p_wa_holm", "p_equivalent_holm", "speakers_needed", "seeds_needed"):
        assert found[key] == pytest.approx(getattr(pair.comparison, key), abs=1e-9)
    assert (found["clips"], found["speakers"], found["scope"]) == (pair.clips, pair.speakers, pair.scope)
    assert tuple(found["only"][::sign]) == pair.only
    uneven = "uneven" in {notice["code"] for notice in data["notices"]}
    assert uneven or not any(pair.only)
