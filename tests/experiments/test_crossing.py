"""From one corpus to another: tones whose pitch says the emotion, in corpora of other names and voices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from serlab.core import FindingsError, UserError
from serlab.corpora import load_corpus
from serlab.experiments.compare import compare
from serlab.experiments.crossing import Crossing, compare_across
from serlab.tables import ledger


@pytest.fixture(scope="module")
def done(corpora: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Crossing, Path]:
    """English to italian and to one speaker, after a comparison within italian; read-only."""
    out = tmp_path_factory.mktemp("runs")
    compare(corpora["italian"], ["mfcc-svm"], out=out)
    found = compare_across(
        corpora["english"], [corpora[each] for each in ("italian", "one", "english")], ["mfcc-svm"], out=out
    )
    return found, out


def cells(found: Crossing) -> list[dict[str, Any]]:
    return json.loads(found.report.with_name("report.json").read_text(encoding="utf-8"))["cells"]


def test_every_target_is_tested_on_the_emotions_that_both_have(done) -> None:
    italian, one, same = cells(done[0])
    assert italian["labels"] == ["angry", "happy", "sad"]
    assert (italian["clips"], italian["speakers"]) == (99, 11)
    assert italian["dropped"] == {"calm": 33}
    assert italian["excluded"] == 0
    assert one["clips"] == 9
    assert same["reason"] == "the model is trained on it"


def test_clips_without_a_counterpart_are_no_exclusions(done) -> None:
    assert done[0].exclusions == ()


def test_intervals_are_over_the_targets_speakers_from_ten_on(done) -> None:
    italian, one, _ = cells(done[0])
    assert italian["uar"]["low"] <= italian["uar"]["value"] <= italian["uar"]["high"]
    assert italian["by_speaker"] is None
    assert one["no_interval"] == "1 speaker: no interval"
    assert list(one["by_speaker"]) == ["s0"]
    assert one["by_speaker"]["s0"] == pytest.approx(one["uar"]["value"])


def test_uar_is_that_of_scikit_learn(done) -> None:
    from sklearn.metrics import balanced_accuracy_score

    table = pd.read_parquet(done[1] / "italian" / "from-english" / "mfcc-svm" / "fold1-seed0.parquet")
    rows = table[table["side"] == "test"]
    scores = rows[[f"logit_{label}" for label in ("angry", "happy", "sad")]]
    predicted = scores.idxmax(axis=1).str.removeprefix("logit_")
    assert cells(done[0])[0]["uar"]["value"] == pytest.approx(balanced_accuracy_score(rows["label"], predicted))


def test_the_drop_is_paired_with_the_runs_within_the_target(done) -> None:
    within = cells(done[0])[0]["within"]
    assert (within["protocol"], within["clips"]) == ("speaker-5", 99)
    drop, uars = within["drop"], (within["cross"]["value"], within["uar"]["value"])
    assert drop["value"] == pytest.approx(uars[0] - uars[1])
    assert drop["low"] <= drop["value"] <= drop["high"]


def test_dev_speakers_come_from_the_source_alone(done) -> None:
    table = pd.read_parquet(done[1] / "italian" / "from-english" / "mfcc-svm" / "fold1-seed0.parquet")
    dev, test = (table[table["side"] == side] for side in ("dev", "test"))
    assert all(clip.startswith("english/") for clip in dev["clip"])
    assert dev["speaker"].nunique() == 1
    assert test["clip"].is_unique


def test_the_signature_says_both_sides_and_what_was_heard(done) -> None:
    path = done[1] / "italian" / "from-english" / "mfcc-svm" / "fold1-seed0.json"
    signature = json.loads(path.read_text(encoding="utf-8"))
    about = signature["crossing"]
    assert [each["corpus"] for each in about["sources"]] == ["english"]
    assert about["target"]["emotions"] == {"calm": "calm", "gio": "happy", "rab": "angry", "tri": "sad"}
    (heard,) = signature["heard"]
    assert heard["corpus"] == "english"
    assert sorted([*heard["train"], *about["dev_speakers"]])[-1].startswith("s")
    assert len(heard["train"]) == 4
    assert signature["protocol"]["speaker_disjoint"] is True


def test_each_target_is_read_once(done) -> None:
    entries = [entry for entry in ledger.read(done[1]) if entry["protocol"] == "from-english"]
    assert sorted(entry["corpus"] for entry in entries) == ["italian", "one"]


def test_page_markdown_json_and_lines_have_one_judgement(done) -> None:
    page, text = (done[0].report.with_name(name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    line, single, blank = done[0].lines
    for cell in cells(done[0])[:2]:
        assert f"UAR {cell['score_text']}" in page
        assert f"UAR {cell['score_text']}" in text.replace("\\", "")
    assert cells(done[0])[0]["score_text"] in line
    assert "1 speaker: no interval" in single
    assert "Not tested: the model is trained on it." in page
    assert "not tested: the model is trained on it" in blank
    assert cells(done[0])[0]["drop_text"] in page.replace("&#39;", "'")


def test_the_page_names_no_command_that_cannot_work(cross) -> None:
    found = cross("english", ["italian"], limit=2)
    text = found.report.read_text(encoding="utf-8")
    assert "Not compared with training within italian-limit2: there are no such runs of this recipe." in text
    assert "serlab compare italian" not in text


def test_the_report_of_one_target_can_be_written_too(done, serlab, tmp_path: Path) -> None:
    shutil.copytree(done[1] / "italian" / "from-english", tmp_path / "runs" / "italian" / "from-english")
    assert serlab("report", tmp_path / "runs" / "italian" / "from-english").code == 0


def test_finished_runs_are_not_repeated_and_a_new_target_is_added(cross, tmp_path: Path) -> None:
    cross("english", "one")
    table = tmp_path / "out" / "one" / "from-english" / "mfcc-svm" / "fold1-seed0.parquet"
    before = table.stat().st_mtime_ns
    cross("english", ["one", "two"])
    assert table.stat().st_mtime_ns == before
    assert len(ledger.read(tmp_path / "out")) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["cross-corpus", "one", "two"]


def test_runs_with_another_map_of_labels_are_never_mixed(cross) -> None:
    cross("english", "one")
    with pytest.raises(UserError, match="is of another configuration"):
        cross("english", "one", labels={"happy": None})


def test_other_data_of_a_source_is_another_configuration(cross, corpora, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(Path(corpora["english"]).parent, changed)
    cross(str(changed / "english.csv"), "one")
    table = pd.read_csv(changed / "english.csv")
    table[table["speaker"] != "s4"].to_csv(changed / "english.csv", index=False)
    with pytest.raises(UserError, match=r"another configuration \(protocol_version"):
        cross(str(changed / "english.csv"), "one")


def test_several_sources_are_pooled_and_balanced_on_request(cross, tmp_path: Path) -> None:
    def about(folder: str) -> dict[str, Any]:
        path = tmp_path / "out" / "one" / folder / "mfcc-svm" / "fold1-seed0.json"
        return json.loads(path.read_text(encoding="utf-8"))["crossing"]

    cross([["english", "two"]], "one")
    cross([["english", "two"]], "one", balance=True)
    plain, balanced = about("from-english+two"), about("from-english+two-balanced")
    assert plain["train_clips"] + plain["dev_clips"] == 63
    assert balanced["train_clips"] > plain["train_clips"]
    assert (plain["balanced"], balanced["balanced"]) == (False, True)


def test_each_leaves_one_corpus_out_at_a_time(cross) -> None:
    scores = cross([["english", "two", "one"]], "each").scores
    assert list(zip(scores["source"], scores["target"], strict=True)) == [
        ("two+one", "english"), ("english+one", "two"), ("english+two", "one"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="one corpus out at a time"):
        cross("english", "each")


def test_the_same_recording_on_both_sides_leaves_the_target_blank(cross, corpora, tmp_path: Path) -> None:
    home = Path(corpora["english"]).parent
    shutil.copytree(home / "one", tmp_path / "leaky" / "clips")
    wave, rate = soundfile.read(home / "english" / "s1_happy_2.wav")
    # Another level, format and start: the bytes differ, and the recording does not.
    soundfile.write(tmp_path / "leaky" / "clips" / "copied.flac", 0.5 * wave[400:], rate)
    table = pd.read_csv(home / "one.csv").assign(path=lambda rows: rows["path"].str.replace("one/", "clips/"))
    extra = pd.DataFrame([{"path": "clips/copied.flac", "label": "happy", "speaker": "s0"}])
    pd.concat([table, extra]).to_csv(tmp_path / "leaky" / "leaky.csv", index=False)
    found = cross("english", ["two", str(tmp_path / "leaky" / "leaky.csv")])
    reason = found.scores.set_index("target").loc["leaky", "reason"]
    assert reason == "1 recording of leaky is also in english (leaky/clips/copied is english/english/s1_happy_2)"
    assert not (tmp_path / "out" / "leaky").exists()
    with pytest.raises(UserError, match="nothing can be tested: english to leaky: 1 recording"):
        cross("english", str(tmp_path / "leaky" / "leaky.csv"))


def test_corpora_without_common_emotions_are_refused_before_training(cross, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"only sad in common with english \(english: down, sad, up; two: angry"):
        cross("english", "two", labels={"new": ["up", "down"], "english": {"angry": "up", "happy": "down"}})
    with pytest.raises(UserError, match="no emotion in common"):
        cross("english", "two", labels={"new": ["x", "y"], "english": {"angry": "x", "happy": "x", "sad": "y"}})
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_which_nothing_is_left_is_named(cross) -> None:
    drop = {"two": {"angry": None, "happy": None, "sad": None}}
    with pytest.raises(UserError, match=r"no emotion in common with english \(.*two: none\)"):
        cross("english", "two", labels=drop)
    with pytest.raises(UserError, match="two has fewer than two emotions after its labels are mapped"):
        cross("two", "english", labels=drop)


def test_an_unknown_label_names_the_corpus_and_the_nearest_emotion(cross, corpora, tmp_path: Path) -> None:
    home = Path(corpora["one"]).parent
    shutil.copytree(home / "one", tmp_path / "odd" / "one")
    table = pd.read_csv(home / "one.csv")
    table.replace({"label": {"happy": "hapy"}}).to_csv(tmp_path / "odd" / "odd.csv", index=False)
    with pytest.raises(UserError, match=r"'hapy' of odd is not a known emotion; did you mean 'happy'\?"):
        cross("english", str(tmp_path / "odd" / "odd.csv"))


def test_a_source_with_one_speaker_has_nobody_to_hold_out(cross) -> None:
    with pytest.raises(UserError, match="one has one speaker, but training needs two or more"):
        cross("one", "two")


def test_too_many_unusable_clips_stop_before_training(cross, corpora, tmp_path: Path) -> None:
    home = Path(corpora["one"]).parent
    shutil.copytree(home / "one", tmp_path / "silent" / "one")
    shutil.copy(home / "one.csv", tmp_path / "silent" / "silent.csv")
    soundfile.write(tmp_path / "silent" / "one" / "s0_sad_0.wav", np.zeros(8000), 16000)
    silent = str(tmp_path / "silent" / "silent.csv")
    with pytest.raises(FindingsError, match="1 of 9 clips cannot be used"):
        cross("english", silent)
    assert [each.clip for each in cross("english", silent, max_excluded=0.2).exclusions] == ["one/s0_sad_0"]


def test_two_corpora_of_one_name_are_refused(cross, corpora, tmp_path: Path) -> None:
    shutil.copytree(Path(corpora["one"]).parent, tmp_path / "again")
    with pytest.raises(UserError, match="are both called one"):
        cross("one", str(tmp_path / "again" / "one.csv"))


def test_speech_that_weights_have_heard_leaves_the_target_blank(cross, tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(tiny_checkpoint, folder)
    speech = [{"name": "two", "clips": 1, "hours": 0.1, "speakers": ["s1"], "sha256": {}}]
    (folder / "heard.json").write_text(json.dumps({"format": 1, "speech": speech}), encoding="utf-8")
    recipe = tmp_path / "started.yaml"
    recipe.write_text(
        f"title: Started\nmodel: {{kind: encoder, checkpoint: {folder}}}\ntraining: {{epochs: 1, precision: fp32}}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="SL012: the pretrained weights weights was trained on a test speaker"):
        cross("english", "two", str(recipe))


def test_a_loaded_corpus_and_folders_by_name(cross, corpora) -> None:
    english = load_corpus(corpora["english"])
    assert list(cross([english], "one").scores["source"]) == ["english"]
    with pytest.raises(UserError, match="is for a corpus that is not used"):
        cross("english", "one", data={"crema-d": "x"})
