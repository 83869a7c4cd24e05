import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from tests.conftest import EMOTIONS

from serlab.core import UserError
from serlab.core.files import write_json
from serlab.evaluation.counts import predicted_of
from serlab.recipes import load_recipe
from serlab.report import build, summarise
from serlab.report.selection import full_grid
from serlab.tables.predictions import probabilities_of, read_protocols, read_runs

BEST, SECOND, THIRD = "whisper-base-probe", "resnet18", "mfcc-svm"
LEAKY = {
    "name": "clip-random-5",
    "definition": "clips at random",
    "speaker_disjoint": False,
    "sentence_disjoint": False,
    "folds": 3,
}


@pytest.fixture(scope="module")
def summary(comparison):
    return summarise(read_runs(comparison)).to_dict()


def codes(summary) -> set[str]:
    return {notice["code"] for notice in summary["notices"]}


def text_of(summary, code: str) -> str:
    return next(notice["text"] for notice in summary["notices"] if notice["code"] == code)


def recipe_of(summary, name: str) -> dict:
    return next(recipe for recipe in summary["recipes"] if recipe["name"] == name)


def corpus_with(signature: dict, **changes) -> dict:
    return {"corpus": signature["corpus"] | changes}


def rewrite_signature(table: Path, **changes) -> None:
    signature = table.with_suffix(".json")
    write_json(signature, json.loads(signature.read_text(encoding="utf-8")) | changes)


@pytest.fixture(scope="module")
def signature(comparison):
    return read_runs(comparison)[0].signature


def test_the_summary_is_plain_json_without_nan(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_answer_names_the_best_two_with_their_interval(summary):
    answer = summary["answer"]
    assert answer["text"].startswith("On the 24 actors of CREMA-D (speaker-3, all folds), these trained models: ")
    pair = summary["pairs"][0]
    assert (pair["first"], pair["second"]) == (BEST, SECOND)
    difference = pair["differences"]["uar"]
    assert answer["finding"] == (
        f"Whisper-base probe is ahead of ResNet18 by {100 * difference['value']:.1f} points of UAR "
        f"(95 % interval {100 * difference['low']:.1f} to {100 * difference['high']:.1f})."
    )
    assert answer["ranking"].index("Whisper") < answer["ranking"].index("ResNet18") < answer["ranking"].index("MFCC")


def test_uar_is_pooled_over_folds_and_equals_scikit_learn(comparison, summary):
    runs = [run for run in read_runs(comparison) if run.path.parent.name == SECOND]
    truth, guess = [], []
    for run in runs:
        test = run.table[run.table["side"] == "test"]
        truth += test["label"].tolist()
        guess += predicted_of(test).tolist()
    recipe = recipe_of(summary, SECOND)
    score = recipe["scores"]["uar"]
    assert score["value"] == pytest.approx(balanced_accuracy_score(truth, guess), abs=1e-12)
    assert score["low"] < score["value"] < score["high"]
    assert recipe["train_uar"] == pytest.approx(0.83)
    assert (recipe["folds"], recipe["seeds"], recipe["clips"], recipe["speakers"]) == ([1, 2, 3], [0], 1728, 24)


def test_a_difference_is_the_difference_of_the_two_scores(summary):
    for pair in summary["pairs"]:
        values = [recipe_of(summary, pair[side])["scores"]["uar"]["value"] for side in ("first", "second")]
        assert pair["differences"]["uar"]["value"] == pytest.approx(values[0] - values[1], abs=1e-12)


def test_worst_confusions_are_the_surest_errors(comparison, summary):
    rows = []
    for run in read_runs(comparison):
        if run.path.parent.name == THIRD:
            test = run.table[run.table["side"] == "test"].reset_index(drop=True)
            shares, guess = probabilities_of(test), predicted_of(test)
            for index in np.flatnonzero(guess != test["label"].to_numpy()):
                label = EMOTIONS.index(test["label"][index])
                rows.append((shares[index].max(), test["clip"][index], shares[index, label]))
    worst = recipe_of(summary, THIRD)["worst"]
    assert [entry["clip"] for entry in worst] == [clip for _, clip, _ in sorted(rows, reverse=True)[:12]]
    assert [entry["probability_of_label"] for entry in worst] == pytest.approx(
        [share for *_, share in sorted(rows, reverse=True)[:12]]
    )


def test_exclusions_are_listed_once_a_fold_and_side(summary):
    assert [(e["clip"], e["fold"], e["side"], e["reason"]) for e in summary["exclusions"]] == [
        ("1076_MTI_SAD_XX", fold, "train", "silent") for fold in (1, 2, 3)
    ]
    assert summary["exclusions"][0]["recipes"] == sorted([BEST, SECOND, THIRD])


def test_no_difference_is_said_when_none_can_be_shown(add_run, tmp_path):
    for fold in (1, 2, 3):
        add_run(SECOND, fold)
        add_run(BEST, fold, skill=1.16)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    difference = summary["pairs"][0]["differences"]["uar"]
    assert difference["low"] < 0 < difference["high"]
    assert summary["answer"]["finding"].startswith("no difference between ")
    assert "can be shown" in summary["answer"]["finding"]


def test_recipes_are_judged_from_three_seeds_on(add_run, tmp_path):
    for recipe in (BEST, SECOND):
        for seed in (0, 1, 2):
            add_run(recipe, 1, seed)
            add_run(recipe, 2, seed)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert "(speaker-3, folds 1, 2), each recipe trained with 3 seeds: " in summary["answer"]["text"]
    assert "Whisper-base probe is better than ResNet18 by" in summary["answer"]["finding"]
    assert "few-seeds" not in codes(summary)
    per_seed = [recipe_of(summary, BEST)["runs"][index]["uar"] for index in range(6)]
    assert recipe_of(summary, BEST)["scores"]["uar"]["value"] == pytest.approx(np.mean(per_seed), abs=1e-12)


def test_recipes_with_different_folds_are_compared_on_the_shared_ones(add_run, tmp_path):
    for fold in (1, 2, 3):
        add_run(SECOND, fold)
    add_run(BEST, 1)
    add_run(BEST, 3)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    pair = summary["pairs"][0]
    assert (pair["folds"], pair["speakers"], pair["partial"]) == ([1, 3], 16, True)
    assert "On the 16 actors of CREMA-D (speaker-3, folds 1, 3)" in summary["answer"]["text"]
    assert "uneven" in codes(summary)


def test_recipes_without_a_shared_fold_are_not_compared(add_run, tmp_path):
    add_run(SECOND, 1)
    add_run(SECOND, 2)
    add_run(BEST, 3)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert summary["pairs"][0]["differences"] is None
    assert "cannot be compared: they have no fold and seed in common" in summary["answer"]["finding"]


def test_half_done_seeds_stay_out_and_are_named(add_run, tmp_path):
    for fold, seed in ((1, 0), (2, 0), (3, 0), (1, 1)):
        add_run(SECOND, fold, seed)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert recipe_of(summary, SECOND)["seeds"] == [0]
    assert "ResNet18 (fold 1 seed 1)" in text_of(summary, "left-out-runs")
    assert full_grid([]) == []


def test_missing_folds_are_named(add_run, tmp_path):
    add_run(SECOND, 2)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert text_of(summary, "missing-folds") == "Only fold 2 of 3 is here: the actors of folds 1, 3 are not judged."
    assert summary["answer"]["text"].startswith("On the 8 actors of CREMA-D (speaker-3, fold 2), these trained models")
    assert "no interval: fewer than 10 speakers (8)" in summary["answer"]["finding"]
    assert "few-speakers" in codes(summary)


def test_a_leak_is_said_in_the_answer_and_first_of_all(add_run, tmp_path):
    for fold in (1, 2, 3):
        add_run(SECOND, fold, protocol=LEAKY)
    summary = summarise(read_runs(tmp_path / "crema-d" / "clip-random-5")).to_dict()
    assert (summary["notices"][0]["code"], summary["notices"][0]["severity"]) == ("speaker-leak", "danger")
    assert "who may have been heard in training too" in summary["answer"]["about"]


def test_unknown_speakers_give_no_interval(add_run, tmp_path, signature):
    changes = corpus_with(signature, name="mine", speakers_known=False, copy="the user's own files")
    protocol = signature["protocol"] | {"speaker_disjoint": None}
    for recipe in (BEST, SECOND):
        for fold in (1, 2, 3):
            add_run(recipe, fold, protocol=protocol, **changes)
    summary = summarise(read_runs(tmp_path / "mine" / "speaker-3")).to_dict()
    assert summary["recipes"][0]["speakers"] is None
    assert summary["answer"]["about"] == (
        "On the 1,728 clips of mine (speaker-3, all folds), whose speakers may have been heard in training too "
        "(the corpus does not say), these trained models"
    )
    assert "can be shown, because there is no interval: the speakers are unknown" in summary["answer"]["finding"]
    assert "speakers-unknown" in codes(summary)
    assert "copy" not in codes(summary)


def test_synthetic_speech_is_called_so(add_run, tmp_path, signature):
    add_run(SECOND, 1, **corpus_with(signature, name="synthetic", synthetic=True, copy="made on this machine"))
    summary = summarise(read_runs(tmp_path / "synthetic" / "speaker-3")).to_dict()
    assert "On the 8 synthetic voices (speaker-3, fold 1)" in summary["answer"]["text"]
    assert "synthetic" in codes(summary)


def test_another_copy_is_said(summary):
    assert "11,025 Hz" in text_of(summary, "copy")


def test_development_figures_are_called_so(add_run, tmp_path):
    for fold in (1, 2, 3):
        add_run(SECOND, fold, sides=("dev",))
        add_run(BEST, fold)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert recipe_of(summary, SECOND)["side"] == "dev"
    assert "ResNet18" in text_of(summary, "dev-only")
    assert "one is judged on test, the other on dev" in summary["answer"]["finding"]


def test_only_development_figures(add_run, tmp_path):
    for recipe in (BEST, SECOND):
        for fold in (1, 2, 3):
            add_run(recipe, fold, sides=("dev",))
    answer = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()["answer"]
    assert "(speaker-3, all folds, development subset, not test)" in answer["about"]
    assert "is ahead of" in answer["finding"]


def train_uar(value: float | None) -> dict:
    return {"epochs": [], "selection": "", "train_uar": value}


def test_a_recipe_at_chance_is_compared_all_the_same(add_run, tmp_path):
    for fold in (1, 2, 3):
        add_run(SECOND, fold)
        add_run(BEST, fold, skill=0.0)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    (pair,) = summary["pairs"]
    assert (pair["first"], pair["second"], pair["answer"]) == (SECOND, BEST, "better")
    assert pair["p_holm"] < 0.01
    assert summary["answer"]["finding"].startswith("ResNet18 is ahead of Whisper-base probe by")
    assert recipe_of(summary, SECOND)["learned"] is True
    assert recipe_of(summary, BEST)["learned"] is False
    text = text_of(summary, "did-not-learn")
    assert text.startswith("Not shown to have learned: Whisper-base probe (the 95 % interval of its UAR (")
    assert text.endswith(") does not lie above chance (16.7 %)).")


@pytest.mark.parametrize("trained", [0.2, 0.541, 0.599])
def test_a_low_training_score_is_a_caution_and_hides_nothing(add_run, tmp_path, trained):
    for fold in (1, 2, 3):
        add_run(BEST, fold, training=train_uar(trained))
        add_run(SECOND, fold)
        add_run(THIRD, fold)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert [recipe["name"] for recipe in summary["recipes"]] == [BEST, SECOND, THIRD]
    assert len(summary["pairs"]) == 3
    assert all(pair["differences"] and pair["p_holm"] is not None for pair in summary["pairs"])
    assert "Whisper-base probe is ahead of ResNet18" in summary["answer"]["finding"]
    assert recipe_of(summary, BEST)["learned"] is True
    assert not recipe_of(summary, BEST)["not_learned"]
    assert "did-not-learn" not in codes(summary)
    assert ("underfitted" in codes(summary)) == (trained < 0.583)


def test_a_training_score_far_above_test_is_a_caution(add_run, tmp_path):
    for fold in (1, 2, 3):
        add_run(SECOND, fold, skill=0.5, training=train_uar(0.999))
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert "Perhaps overfitted: ResNet18 (99.9 % on its training clips," in text_of(summary, "overfitted")
    assert recipe_of(summary, SECOND)["learned"] is True


def test_all_at_chance(add_run, tmp_path):
    for fold in (1, 2, 3):
        for recipe in (BEST, SECOND, THIRD):
            add_run(recipe, fold, skill=0.0)
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert len(summary["pairs"]) == 3
    assert summary["answer"]["ranking"].count("% (not shown to be above chance)") == 3
    assert "is ahead of" not in summary["answer"]["text"]


def test_without_an_interval_nothing_is_said_of_learning(add_run, tmp_path, signature):
    add_run(BEST, 1, skill=0.0)
    few = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    for fold in (1, 2, 3):
        add_run(BEST, fold, skill=0.0, **corpus_with(signature, name="mine", speakers_known=False))
    unknown = summarise(read_runs(tmp_path / "mine" / "speaker-3")).to_dict()
    for fold in (1, 2, 3):
        add_run(BEST, fold, sides=("dev",), **corpus_with(signature, name="other"))
    developed = summarise(read_runs(tmp_path / "other" / "speaker-3")).to_dict()
    for summary in (few, unknown, developed):
        assert summary["recipes"][0]["learned"] is None
        assert "did-not-learn" not in codes(summary)
        assert "above chance" not in summary["answer"]["text"]


def test_a_label_without_test_clips_is_flagged(add_run, tmp_path, signature):
    labels = [*EMOTIONS, "surprise"]
    path = add_run(SECOND, 1, **corpus_with(signature, labels=labels))
    runs = read_runs(path.parent.parent)
    runs[0].table["logit_surprise"] = -9.0
    summary = summarise(runs).to_dict()
    assert summary["recipes"][0]["absent"] == ["surprise"]
    assert summary["recipes"][0]["chance"] == pytest.approx(1 / 6)
    assert "chance is 16.7 % for 6 labels with clips" in summary["answer"]["finding"]
    assert "no clips of surprise for ResNet18" in text_of(summary, "absent-label")


def test_mixed_precisions_are_said(add_run, tmp_path):
    add_run(SECOND, 1)
    add_run(SECOND, 2, precision="fp32", serlab="0.2.0")
    summary = summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    assert "bf16 and fp32" in text_of(summary, "mixed-precision")
    assert "0.1.0 and 0.2.0" in text_of(summary, "mixed-versions")


def test_recipes_of_one_title_are_told_apart(add_run, tmp_path, signature):
    def titles() -> set[str]:
        return {
            recipe["title"] for recipe in summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()["recipes"]
        }

    plain = add_run(SECOND, 1)
    changed = add_run(SECOND, 1, folder="resnet18-ab12cd")
    assert titles() == {"ResNet18 (resnet18)", "ResNet18 (resnet18-ab12cd)"}
    for path, targets in ((plain, "hard"), (changed, "soft")):
        recipe = json.loads(path.with_suffix(".json").read_text())["recipe"]
        rewrite_signature(path, recipe=recipe | {"config": {"training": {"targets": targets, "epochs": 8}}})
    assert titles() == {"ResNet18 (targets hard)", "ResNet18 (targets soft)"}


def test_a_single_variant_lists_its_settings_on_page_and_in_markdown(add_run, tmp_path):
    path = add_run(SECOND, 1, folder="resnet18-ab12cd")
    recipe = json.loads(path.with_suffix(".json").read_text())["recipe"]
    config = load_recipe("resnet18", ["training.epochs=30", "augmentation.mixup=0.2"]).settings()
    rewrite_signature(path, recipe=recipe | {"name": "resnet18-ab12cd", "config": config, "pretrained": "my-own"},
                      weights_sha256="5e" * 32)  # fmt: skip
    page = build(tmp_path / "crema-d" / "speaker-3", audio="none")
    (entry,) = json.loads(page.with_name("report.json").read_text())["recipes"]
    assert entry["changed"] == {"training.epochs": 30, "augmentation.mixup": 0.2}
    assert entry["weights_sha256"] == "5e" * 32
    for text in (page.read_text(), page.with_name("report.md").read_text().replace("\\", "")):
        assert text.count("training.epochs=30, augmentation.mixup=0.2") == 2
        assert "5e" * 32 in text
        assert "my-own" in text


def test_only_the_recipes_that_are_named_are_read(add_run, tmp_path):
    add_run(BEST, 1)
    add_run(SECOND, 1)
    folder = tmp_path / "crema-d" / "speaker-3"
    assert [run.path.parent.name for run in read_runs(folder, [SECOND])] == [SECOND]
    assert {name: len(runs) for name, runs in read_protocols(folder.parent, [BEST]).items()} == {"speaker-3": 1}


def test_runs_that_do_not_belong_together_are_refused(add_run, tmp_path, signature):
    add_run(SECOND, 1)
    other = {**signature["recipe"], "hash": "9" * 64}
    path = add_run(SECOND, 2)
    rewrite_signature(path, recipe=other)
    with pytest.raises(UserError, match="two configurations"):
        summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()
    path.unlink()
    add_run(BEST, 2, **corpus_with(signature, fingerprint="0" * 64))
    with pytest.raises(UserError, match="different data"):
        summarise(read_runs(tmp_path / "crema-d" / "speaker-3")).to_dict()


def test_runs_of_two_protocols_or_unknown_labels_are_refused(add_run, tmp_path, signature):
    path = add_run(SECOND, 1)
    mixed = read_runs(path.parent.parent) + read_runs(add_run(BEST, 1, protocol=LEAKY).parent.parent)
    with pytest.raises(UserError, match="different protocols"):
        summarise(mixed)
    runs = read_runs(path.parent.parent)
    runs[0].table.loc[0, "label"] = "hapy"
    with pytest.raises(UserError, match="unknown label 'hapy'; did you mean 'happy'"):
        summarise(runs).to_dict()


def test_no_runs():
    with pytest.raises(UserError, match="no runs"):
        summarise([])


def test_the_ledger_is_counted_for_this_protocol_alone(comparison):
    line = {"corpus": "crema-d", "protocol": "speaker-3", "recipe": SECOND, "hash": "a"}
    lines = [line, line, line | {"recipe": "forgotten", "hash": "b"}, line | {"protocol": "evar"}]
    assert summarise(read_runs(comparison), lines).to_dict()["ledger"] == {
        "evaluations": 3,
        "configurations": 2,
        "not_shown": ["forgotten"],
    }
