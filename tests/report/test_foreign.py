"""Tables of predictions, whoever made them, as a report."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.evaluation.judge import evaluate, evaluate_pair
from serlab.evaluation.lines import evaluation_lines
from serlab.report import build_foreign
from serlab.report.figures import draw_all
from serlab.report.foreign import foreign_runs, names_of
from serlab.report.methods import methods_of
from serlab.report.summary import summarise
from serlab.report.trust_figures import draw_trust

LABELS = ("angry", "calm")
CLIPS, SPEAKERS = 48, 12


def predictions(path: Path, sure: float, seed: int = 0) -> pd.DataFrame:
    """Write a model's probabilities for clips of 12 speakers, in a random order."""
    random = np.random.default_rng(seed)
    clips = pd.DataFrame({"clip": [f"c{n:02d}" for n in range(CLIPS)], "label": np.tile(LABELS, CLIPS // 2)})
    clips["speaker"] = [f"s{n // (CLIPS // SPEAKERS)}" for n in range(CLIPS)]
    angry = np.clip(np.where(clips["label"] == "angry", sure, 1 - sure) + random.uniform(-0.4, 0.4, CLIPS), 0.01, 0.99)
    table = clips.assign(prob_angry=angry, prob_calm=1 - angry).sample(frac=1, random_state=seed)
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    return table


def uar_of(table: pd.DataFrame) -> float:
    guess = np.where(table["prob_angry"] > 0.5, "angry", "calm")
    return float(balanced_accuracy_score(table["label"], guess))


def test_two_foreign_models_are_compared_on_the_clips_of_both(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.csv", tmp_path / "theirs.csv"
    first = predictions(mine, 0.9)
    second = predictions(theirs, 0.75, seed=1).query("clip != 'c07'")
    second.to_csv(theirs, index=False)
    page = build_foreign([mine, theirs], tmp_path / "judged")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    scores = {recipe["title"]: recipe["scores"]["uar"]["value"] for recipe in report["recipes"]}
    assert scores == pytest.approx({"mine": uar_of(first), "theirs": uar_of(second)})
    (pair,) = report["pairs"]
    assert pair["clips"] == CLIPS - 1
    apart = uar_of(first.query("clip != 'c07'")) - uar_of(second)
    assert pair["differences"]["uar"]["value"] == pytest.approx(apart)
    codes = {notice["code"] for notice in report["notices"]}
    assert "training-unknown" in codes
    assert "did-not-learn" not in codes
    assert "48 clips that the tables predict" in report["protocol"]["definition"]
    assert "What they cost" not in page.read_text(encoding="utf-8")
    assert (page.parent / "figures" / "differences.svg").is_file()


def test_the_corpus_gives_speakers_labels_and_files(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(tiny_corpus))
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(len(corpus.labels)), len(corpus.clips))
    table = pd.DataFrame(scores, columns=[f"prob_{label}" for label in corpus.labels]).assign(clip=corpus.clips["clip"])
    path = tmp_path / "mine.csv"
    table.iloc[1:].to_csv(path, index=False)
    page = build_foreign([path], tmp_path / "judged", corpus)
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert report["corpus"]["fingerprint"] == corpus.fingerprint
    assert f"{len(corpus.clips) - 1} of {len(corpus.clips)} clips" in report["protocol"]["definition"]
    assert "<audio" in page.read_text(encoding="utf-8")


def test_a_table_without_folds_is_compared_with_one_that_has_them(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.csv", tmp_path / "theirs.csv"
    table = predictions(mine, 0.9)
    table.assign(fold=table["speaker"].str[1:].astype(int) % 3 + 1).to_csv(mine, index=False)
    predictions(theirs, 0.75, seed=1).query("clip != 'c07'").to_csv(theirs, index=False)
    report = json.loads(build_foreign([mine, theirs], tmp_path / "judged").with_name("report.json").read_text())
    assert [recipe["folds"] for recipe in report["recipes"]] == [[1, 2, 3], []]
    assert report["pairs"][0]["clips"] == CLIPS - 1


def test_folds_and_the_side_dev_of_a_table_count(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    table = predictions(path, 0.8)
    speaker = table["speaker"].str[1:].astype(int)
    table = table.assign(fold=speaker % 2 + 1, side=np.where(speaker < 6, "dev", "test"))
    table.to_csv(path, index=False)
    runs = foreign_runs([path])
    assert [run.signature["fold"] for run in runs] == [1, 2]
    assert [sorted(run.table["side"].unique()) for run in runs] == [["dev", "test"]] * 2
    assert sum(len(run.table) for run in runs) == CLIPS
    page = build_foreign([path], tmp_path / "judged")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert len(report["recipes"][0]["trust"]["calibration"]["temperatures"]) == 2


def test_folds_from_0_or_of_any_number_are_numbered_from_1(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    table = predictions(path, 0.9)
    table.assign(fold=table["speaker"].isin(["s0", "s1"]).astype(int)).to_csv(path, index=False)
    assert sorted((run.signature["fold"], len(run.table)) for run in foreign_runs([path])) == [(1, 40), (2, 8)]
    table.assign(fold=3).to_csv(path, index=False)
    (run,) = foreign_runs([path])
    assert (run.signature["fold"], run.signature["protocol"]["folds"]) == (1, 1)


def test_a_clip_in_two_folds_and_a_dev_row_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    table = predictions(path, 0.9)
    pd.concat([table.assign(fold=1), table[:5].assign(fold=2)]).to_csv(path, index=False)
    with pytest.raises(UserError, match="in two folds of one seed; each clip is judged once"):
        foreign_runs([path])
    dev = table[:5].assign(clip="dev" + table["clip"][:5], side="dev")
    pd.concat([table.assign(side="test"), dev, dev]).to_csv(path, index=False)
    with pytest.raises(UserError, match="two rows for clip"):
        foreign_runs([path])


def test_files_of_one_name_and_seeds_of_several(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "mine.csv", tmp_path / "b" / "mine.csv"]
    for number, path in enumerate(paths):
        predictions(path, 0.8, seed=number).assign(seed=number + 3).to_csv(path, index=False)
    report, _, _ = shown(build_foreign(paths, tmp_path / "judged"))
    assert {recipe["title"]: recipe["seeds"] for recipe in report["recipes"]} == {
        "a/mine": [3],
        "b/mine": [4],
    }
    assert report["pairs"][0]["clips"] == CLIPS


def test_without_speakers_the_report_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    predictions(path, 0.8).drop(columns="speaker").to_csv(path, index=False)
    page = build_foreign([path], tmp_path / "judged")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert {notice["code"] for notice in report["notices"]} >= {"speakers-unknown"}
    assert report["recipes"][0]["scores"]["uar"]["low"] is None


@pytest.mark.parametrize("clips", [CLIPS, CLIPS - 1])
def test_a_table_without_speakers_is_compared_with_one_that_names_them(tmp_path: Path, clips: int) -> None:
    mine, theirs = tmp_path / "mine.csv", tmp_path / "theirs.csv"
    predictions(mine, 0.8).drop(columns="speaker").to_csv(mine, index=False)
    predictions(theirs, 0.9, seed=1)[:clips].to_csv(theirs, index=False)
    page = build_foreign([mine, theirs], tmp_path / "judged")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert report["pairs"][0]["clips"] == clips
    assert report["pairs"][0]["differences"]["uar"]["low"] is not None
    # The speakers of the one table's clips are all known to the other, or else it has no interval of its own.
    intervals = {recipe["title"]: recipe["scores"]["uar"]["low"] is not None for recipe in report["recipes"]}
    assert intervals == {"mine": clips == CLIPS, "theirs": True}
    assert ("speakers-unknown" in {notice["code"] for notice in report["notices"]}) == (clips < CLIPS)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    paper = tmp_path / "paper"
    (paper / "figures").mkdir(parents=True)
    (paper / "figures" / "fig1.svg").write_text("mine")
    (paper / "index.html").write_text("mine")
    predictions(tmp_path / "mine.csv", 0.9)
    with pytest.raises(UserError, match="contains files but no report"):
        build_foreign([tmp_path / "mine.csv"], paper)
    assert {path.read_text() for path in paper.rglob("*.*")} == {"mine"}
    for _ in range(2):
        assert build_foreign([tmp_path / "mine.csv"], tmp_path / "new").is_file()


def test_seeds_that_judge_different_clips_are_reported(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.csv", tmp_path / "theirs.csv"
    for path, skill in ((mine, 0.9), (theirs, 0.7)):
        table = predictions(path, skill)
        missing = table[table["speaker"] != "s3"].assign(seed=1)
        pd.concat([table.assign(seed=0), missing]).to_csv(path, index=False)
    report = json.loads(build_foreign([mine, theirs], tmp_path / "judged").with_name("report.json").read_text())
    (recipe, _), (pair,) = report["recipes"], report["pairs"]
    left = recipe["uneven_clips"]
    assert left > 0
    assert pair["clips"] == CLIPS - left
    assert sum(row["clips"] for row in recipe["per_class"]) == recipe["clips"] == CLIPS - left
    assert "s3" not in [row["speaker"] for row in recipe["per_speaker"]]
    assert 0 <= pair["mcnemar"]["durkalski_p"] <= 1


def shown(page: Path) -> tuple[dict, str, str]:
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    return report, page.with_name("report.md").read_text(encoding="utf-8"), page.read_text(encoding="utf-8")


def test_a_table_without_folds_and_seeds_is_given_none_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    predictions(path, 0.8).iloc[:-1].to_csv(path, index=False)
    report, text, page = shown(build_foreign([path], tmp_path / "judged"))
    (recipe,) = report["recipes"]
    assert (recipe["folds"], recipe["seeds"], report["protocol"]["folds"]) == ([], [], 0)
    assert {(run["fold"], run["seed"]) for run in recipe["runs"] + recipe["worst"]} == {(None, None)}
    assert "fold" not in report["signature"]
    assert "seed" not in report["signature"]
    for said in (text, page, json.dumps(report["notices"]), json.dumps(report["answer"])):
        assert not re.search(r"(?i)\b(fold|seed)s?:? \d|fewer than three seeds|one fold<", said)
    assert "predictions of one model" in page


def test_tables_that_share_their_clips_out_differently_are_compared_all_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in ("mine", "theirs", "third")]
    for number, path in enumerate(paths):
        table = predictions(path, 0.9 - 0.1 * number, seed=number)
        speaker = table["speaker"].str[1:].astype(int)
        folds = (speaker + number) % 3 if number < 2 else "Session" + (speaker % 2).astype(str)
        table.assign(fold=folds).to_csv(path, index=False)
    report, _, _ = shown(build_foreign(paths, tmp_path / "judged"))
    assert [pair["clips"] for pair in report["pairs"]] == [CLIPS] * 3
    for pair in report["pairs"]:
        tables = [tmp_path / f"{pair[side]}.csv" for side in ("first", "second")]
        assert pair["differences"] == evaluate_pair(*tables).to_dict()["differences"]


def test_folds_and_seeds_keep_the_names_that_tables_give_them(tmp_path: Path) -> None:
    paths = [tmp_path / "mine.csv", tmp_path / "theirs.csv"]
    for number, path in enumerate(paths):
        table = predictions(path, 0.9 - 0.1 * number, seed=number)
        speaker = table["speaker"].str[1:].astype(int)
        table.assign(fold="Session" + (speaker % 3 + 1 + number).astype(str), seed=4).to_csv(path, index=False)
    report, text, page = shown(build_foreign(paths, tmp_path / "judged"))
    names = {recipe["title"]: recipe["folds"] for recipe in report["recipes"]}
    assert names == {"mine": [f"Session{n}" for n in (1, 2, 3)], "theirs": [f"Session{n}" for n in (2, 3, 4)]}
    assert {recipe["title"]: recipe["seeds"] for recipe in report["recipes"]} == {"mine": [4], "theirs": [4]}
    assert "folds Session1, Session2, Session3, Session4" in report["signature"]
    assert "Session4" in text
    assert "Session4" in page
    predictions(paths[0], 0.9).assign(fold=lambda table: table["speaker"].isin(["s0", "s1"]).astype(int)).to_csv(
        paths[0], index=False
    )
    report, _, _ = shown(build_foreign(paths[:1], tmp_path / "again"))
    assert report["recipes"][0]["folds"] == [0, 1]
    assert [run["fold"] for run in report["recipes"][0]["runs"]] == [0, 1]


def test_chance_is_of_the_labels_that_have_clips_everywhere(tmp_path: Path) -> None:
    table = predictions(tmp_path / "mine.csv", 0.9)
    table.assign(prob_sad=0.0).to_csv(tmp_path / "mine.csv", index=False)
    page = build_foreign([tmp_path / "mine.csv"], tmp_path / "judged")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert report["chance"] == report["recipes"][0]["chance"] == 0.5
    assert "33.3" not in page.with_name("report.md").read_text(encoding="utf-8")


def test_others_models_are_never_called_recipes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in ("one", "two", "three", "four")]
    for number, path in enumerate(paths):
        table = predictions(path, 0.9 - 0.1 * number, seed=number)
        pd.concat([table.assign(seed=seed) for seed in range(3)]).to_csv(path, index=False)
    page = build_foreign(paths, tmp_path / "judged", latex=True)
    report, text, html = shown(page)
    assert "each model trained with 3 seeds" in report["answer"]["text"]
    for name in ("UAR of each model", "Differences between models", "Models that share a letter"):
        assert name in text
        assert name in html
    printed = [re.sub(r"<(style|[^>]*)>", " ", html), *re.findall(r'aria-label="([^"]*)"', html), text]
    printed += [path.read_text(encoding="utf-8") for path in (page.parent / "paper").glob("*.tex")]
    assert [found for each in printed for found in re.findall(r"(?i).*\brecipes?\b.*", each)] == []


def test_each_caution_of_a_population_is_shown_once_everywhere(tmp_path: Path) -> None:
    """Two models of 20 speakers: five spoke one label, two are hardly recognised, and two seeds scatter."""
    clips = pd.DataFrame(
        [
            (f"s{s:02d}-{label}-{k}", f"s{s:02d}", label)
            for s in range(20)
            for label in ("angry", "calm", "sad")
            for k in range(12)
            if label != "sad" or s in (1, 5, 9, 12, 17)
        ],
        columns=["clip", "speaker", "label"],
    )
    paths = [tmp_path / "mine.csv", tmp_path / "theirs.csv"]
    for number, path in enumerate(paths):
        parts = []
        for seed, skill in enumerate((0.72, 0.97)):
            random = np.random.default_rng([number, seed])
            right = random.random(len(clips)) < np.where(clips["speaker"].isin(["s03", "s14"]), 0.05, skill)
            other = np.where(clips["label"] == "angry", "calm", "angry")
            parts.append(clips.assign(seed=seed, predicted=np.where(right, clips["label"], other)))
        pd.concat(parts).to_csv(path, index=False)
    report, text, page = shown(build_foreign(paths, tmp_path / "judged"))
    texts = {notice["code"]: notice["text"] for notice in report["notices"]}
    assert len(texts) == len(report["notices"])
    assert texts["few-seeds"].startswith("The intervals are widened by how far the two seeds lie apart")
    codes = ("rare-label", "far-speakers", "training-scatter")
    plain_text, plain_page = (re.sub(r"\\(.)", r"\1", text), unescape(page))
    for code in codes:
        assert plain_text.count(texts[code]) == plain_page.count(texts[code]) == 1
    folded = plain_page[plain_page.index('<details class="further">') :]
    assert texts["far-speakers"] in folded
    assert texts["training-scatter"] in folded
    for path in paths:
        result = evaluate(path)
        recipe = next(recipe for recipe in report["recipes"] if recipe["title"] == path.stem)
        assert [caution["code"] for caution in recipe["cautions"]] == list(codes)
        terminal = evaluation_lines(result)
        for caution, of_page in zip(result.cautions, recipe["cautions"], strict=True):
            assert (caution.text, caution.meaning) == (of_page["text"], of_page["meaning"])
            assert caution.text in texts[caution.code]
            assert texts[caution.code].endswith(caution.meaning)
            assert sum(f"caution: {caution.text} {caution.meaning}" == line for line in terminal) == 1


def test_a_corpus_of_two_speakers_is_promised_no_intervals(tmp_path: Path) -> None:
    paths = [tmp_path / "mine.csv", tmp_path / "theirs.csv"]
    for number, path in enumerate(paths):
        table = predictions(path, 0.9 - 0.2 * number, seed=number)
        table.assign(speaker=np.where(table["speaker"].isin(["s1", "s2", "s3"]), "a", "b")).to_csv(path, index=False)
    report, text, page = shown(build_foreign(paths, tmp_path / "judged", latex=True))
    assert {notice["code"] for notice in report["notices"]} >= {"few-speakers"}
    assert "few-seeds" not in {notice["code"] for notice in report["notices"]}
    paper = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "judged" / "paper").glob("*.tex"))
    for said in (text, page, paper):
        assert "without intervals: fewer than 10 speakers (2)" in said
        assert "The intervals" not in said
        assert not re.search(r"95 (\\\\)?% intervals? over|its 95 (\\\\)?% interval|with 95 (\\\\)?% intervals", said)
    assert "None: fewer than 10 speakers (2)." in page


def test_differences_of_many_labels_are_in_tables_that_a_page_of_paper_can_hold(tmp_path: Path) -> None:
    labels = [f"emotion{number:02d}" for number in range(20)]
    random = np.random.default_rng(0)
    rows = [(f"s{s}-{label}", f"s{s}", label) for s in range(12) for label in labels]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    paths = [tmp_path / "mine.csv", tmp_path / "theirs.csv"]
    for path in paths:
        said = np.where(random.random(len(clips)) < 0.6, clips["label"], random.choice(labels, len(clips)))
        clips.assign(predicted=said).to_csv(path, index=False)
    _, _, page = shown(build_foreign(paths, tmp_path / "judged"))
    tables = re.findall(r'aria-label="Paired differences by label: [^"]*".*?</table>', page, re.DOTALL)
    heads = [re.findall(r'<th scope="col">([^<]*)</th>', table)[1:] for table in tables]
    assert [label for head in heads for label in head] == labels
    assert [len(head) for head in heads] == [6, 7, 7]
    assert all(table.count("mine − theirs") + table.count("theirs − mine") == 1 for table in tables)


def test_the_methods_of_others_tables_claim_nothing_of_their_training(tiny_corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    predictions(path, 0.9)
    text = methods_of(summarise(foreign_runs([path]))).plain
    assert text.startswith(
        "We evaluated the predictions of mine for 48 clips by 12 speakers, with 2 labels (angry, calm), using serlab "
    )
    assert "What the models were trained on is not part of the tables." in text
    assert not re.search("another's|as predicted:|folds pooled|was trained|was in training", text)
    corpus = load_corpus(str(tiny_corpus))
    clips = corpus.clips
    of_corpus = clips[["clip"]].assign(predicted=clips["label"])
    of_corpus.to_csv(path, index=False)
    text = methods_of(summarise(foreign_runs([path], corpus))).plain
    assert (
        f"mine for {len(clips):,} clips of {corpus.name} ({corpus.copy}, fingerprint {corpus.fingerprint[:8]})" in text
    )


def test_tables_that_differ_only_in_their_suffix_keep_it(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.csv", tmp_path / "mine.jsonl"
    predictions(mine, 0.9)
    predictions(other, 0.75, seed=1).to_json(other, orient="records", lines=True)
    page = build_foreign([mine, other], tmp_path / "judged")
    report = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert [recipe["title"] for recipe in report["recipes"]] == ["mine.csv", "mine.jsonl"]
    assert len(report["pairs"]) == 1
    assert names_of([mine, tmp_path / "d" / "theirs.csv"]) == ["mine", "theirs"]
    assert names_of([mine, tmp_path / "d" / "mine.jsonl"]) == ["mine", "d/mine"]
    assert names_of([mine, other, tmp_path / "d" / "mine.csv"]) == ["mine.csv", "mine.jsonl", "d/mine"]


def test_seeds_with_folds_of_their_own_have_a_report(tmp_path: Path) -> None:
    """Seeds called like the folds: each judges other clips, in a fold that no other seed has."""
    table = predictions(tmp_path / "mine.csv", 0.9)
    number = table["speaker"].str[1:].astype(int) % 2
    table.assign(fold=number + 1, seed=number).to_csv(tmp_path / "mine.csv", index=False)
    page = build_foreign([tmp_path / "mine.csv"], tmp_path / "judged")
    (recipe,) = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))["recipes"]
    each = [uar_of(part) for _, part in table.groupby(number)]
    assert recipe["over_folds"]["values"] == pytest.approx(each)
    assert recipe["over_folds"]["mean"] == pytest.approx(np.mean(each))


def test_a_table_whose_name_begins_with_an_underscore_is_in_every_legend(tmp_path: Path) -> None:
    predictions(tmp_path / "_mine.csv", 0.9)
    predictions(tmp_path / "theirs.csv", 0.75, seed=1)
    summary = summarise(foreign_runs([tmp_path / "_mine.csv", tmp_path / "theirs.csv"]))
    drawn = {drawing.name: drawing for drawing in draw_all(summary) + draw_trust(summary)}
    for name in ("recalls", "abstention"):
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn[name].svg)
        assert {"_mine", "theirs"} <= set(texts)


def test_names_of_users_stay_text_in_markdown(tmp_path: Path) -> None:
    table = predictions(tmp_path / "mine.csv", 0.9)
    fold = np.where(table["speaker"].str[1:].astype(int) % 2, "a|*1*", "b|*2*")
    dev = table.assign(clip="d" + table["clip"], speaker="d" + table["speaker"], side="dev", fold=fold)
    # One speaker is too few for thresholds of this fold, so that the others are named.
    few = dev[(fold == "a|*1*") | (dev["speaker"] == "ds0")]
    rows = pd.concat([table.assign(side="test", fold=fold), few])
    rows.to_csv(tmp_path / "mine.csv", index=False)
    text = (
        build_foreign([tmp_path / "mine.csv"], tmp_path / "judged").with_name("report.md").read_text(encoding="utf-8")
    )
    assert "a\\|\\*1\\*" in text.partition("Prediction sets")[2].partition("\n\n")[2]
    rows.assign(side="s|*").to_csv(tmp_path / "mine.csv", index=False)
    page = build_foreign([tmp_path / "mine.csv"], tmp_path / "judged", side="s|*")
    text += page.with_name("report.md").read_text(encoding="utf-8")
    assert "on s\\|\\*" in text
    for raw in ("a|", "b|", "s|", "*1*", "*2*", "|*"):
        assert raw not in text.replace("\\|", "").replace("\\*", ""), raw
