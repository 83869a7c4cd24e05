from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

import serlab
from serlab.core import FindingsError, MachineError, UserError
from serlab.core.locks import locked
from serlab.corpora import load_corpus
from serlab.experiments import execute
from serlab.frontends import store
from serlab.protocols import split
from serlab.recipes import load_recipe
from serlab.tables.predictions import read_run


def table_of(comparison, recipe="mfcc-svm", stem="fold1-seed0") -> pd.DataFrame:
    (path,) = comparison.folder.glob(f"{recipe}*/{stem}.parquet")
    return pd.read_parquet(path)


def signature_of(comparison, recipe="mfcc-svm", stem="fold1-seed0") -> dict:
    (path,) = comparison.folder.glob(f"{recipe}*/{stem}.json")
    return json.loads(path.read_text())


def ledger_of(comparison) -> list[dict]:
    path = comparison.folder.parent.parent / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's inode and time of change."""
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


# --- what it writes
# -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["tiny-resnet", "tiny-wav2vec2", "mfcc-svm"])
def test_table_holds_the_folds_dev_and_test_clips_once_each(tiny_comparison, tiny_corpus, recipe):
    corpus = load_corpus(str(tiny_corpus))
    fold = split(corpus, "speaker-2").folds[0]
    table = table_of(tiny_comparison, recipe)
    assert sorted(table.loc[table["side"] == "dev", "clip"]) == sorted(fold.dev)
    assert sorted(table.loc[table["side"] == "test", "clip"]) == sorted(fold.test)
    assert list(table.columns[-3:]) == ["logit_calm", "logit_happy", "logit_sad"]
    assert set(table["fold"]) == {1}
    assert set(table["seed"]) == {0}
    known = corpus.clips.set_index("clip")
    assert table["label"].tolist() == known.loc[table["clip"], "label"].tolist()
    assert table["speaker"].tolist() == known.loc[table["clip"], "speaker"].tolist()


def test_signature_says_what_exactly_was_run(tiny_comparison, tiny_corpus):
    signature = signature_of(tiny_comparison, "tiny-wav2vec2")
    corpus = load_corpus(str(tiny_corpus))
    assert signature["serlab"] == serlab.__version__
    assert signature["corpus"]["fingerprint"] == corpus.fingerprint
    assert signature["identity"] == {
        "recipe": signature["recipe"]["hash"],
        "corpus": corpus.fingerprint,
        "protocol": "speaker-2",
        "fold": 1,
        "seed": 0,
        "precision": "fp32",
    }
    assert signature["sides"] == ["dev", "test"]
    assert signature["recipe"]["name"] == f"tiny-wav2vec2-{signature['recipe']['hash'][:6]}"
    assert signature["recipe"]["pretrained"] is None
    assert signature["protocol"]["speaker_disjoint"] is True
    assert signature["exclusions"] == []
    assert [epoch["epoch"] for epoch in signature["training"]["epochs"]] == [1]
    assert 0 <= signature["training"]["train_uar"] <= 1
    assert signature["cost"]["parameters"] >= signature["cost"]["trained_parameters"] > 0
    assert signature["cost"]["real_time_factor"] > 0
    assert {"python", "torch", "transformers"} <= signature["versions"].keys()


def test_no_path_of_this_machine_is_written_into_a_signature(tiny_comparison, tiny_corpus):
    for path in tiny_comparison.folder.glob("*/fold*.json"):
        assert str(tiny_corpus.parent) not in path.read_text()


def test_ledger_has_a_line_for_every_test_subset_that_was_read(tiny_comparison):
    lines = ledger_of(tiny_comparison)
    assert len(lines) == 3
    for line in lines:
        assert (line["corpus"], line["protocol"], line["fold"], line["seed"]) == ("tiny", "speaker-2", 1, 0)
        assert line["side"] == "test"
        assert signature_of(tiny_comparison, line["recipe"])["recipe"]["hash"] == line["hash"]


def test_nothing_private_is_left_behind(tiny_comparison):
    assert not list(tiny_comparison.folder.rglob(".*"))


def test_comparison_tells_where_its_results_are(tiny_comparison):
    assert (tiny_comparison.done, tiny_comparison.trained) == (0, 3)
    assert tiny_comparison.exclusions == ()
    assert tiny_comparison.report == tiny_comparison.folder / "report" / "index.html"
    assert "Tiny ResNet" in tiny_comparison.report.read_text()
    assert len(tiny_comparison.models) == 3


# --- never the same twice, never another silently
# -----------------------------------------------------------------


def test_second_time_nothing_is_run(compare):
    first = compare("mfcc-svm", folds=[1, 2])
    before = {path: state for path, state in state_of(first.folder).items() if "report" not in path}
    second = compare("mfcc-svm", folds=[1, 2])
    assert (first.done, first.trained) == (0, 2)
    assert (second.done, second.trained) == (2, 0)
    assert {path: state for path, state in state_of(first.folder).items() if "report" not in path} == before
    assert len(ledger_of(second)) == 2


def test_only_what_is_missing_is_run(compare):
    compare("mfcc-svm")
    more = compare("mfcc-svm", folds=[], seeds=[0, 1])
    assert (more.done, more.trained) == (1, 3)
    (more.folder / "mfcc-svm" / "fold1-seed1.parquet").unlink()
    assert compare("mfcc-svm", folds=[], seeds=[0, 1]).trained == 1


def test_what_is_named_twice_is_run_once(compare):
    result = compare("mfcc-svm", "mfcc-svm", folds=[1, 1], seeds=[0, 0])
    assert (result.done, result.trained) == (0, 1)


def test_the_screening_is_remembered(compare, monkeypatch):
    compare("mfcc-svm")

    def again(*arguments, **how):
        raise AssertionError("screened again")

    monkeypatch.setattr("serlab.corpora.measures._measure", again)
    assert compare("mfcc-svm", folds=[1, 2]).trained == 1


def test_a_recipe_with_a_setting_has_a_folder_of_its_own(compare):
    recipes = [load_recipe("mfcc-svm"), load_recipe("mfcc-svm", ["model.C=[1.0]"])]
    result = compare(*recipes)
    own = signature_of(result, "mfcc-svm-")["recipe"]["hash"]
    assert {path.name for path in result.folder.iterdir()} == {
        "mfcc-svm",
        f"mfcc-svm-{own[:6]}",
        "audit.json",
        "report",
    }


def changed_corpus(tiny_corpus, folder: Path) -> Path:
    """The tiny corpus under the same name without one clip."""
    copy = folder / "copy"
    shutil.copytree(tiny_corpus.parent, copy)
    lines = (copy / "tiny.csv").read_text().splitlines()
    (copy / "tiny.csv").write_text("\n".join(lines[:-1]))
    return copy / "tiny.csv"


@pytest.mark.parametrize("recipe", ["mfcc-svm", "another"])
def test_results_of_other_data_of_the_same_name_are_in_the_way(compare, tiny_corpus, tmp_path, recipe):
    first = compare("mfcc-svm")
    before = state_of(first.folder)
    other = recipe if recipe == "mfcc-svm" else load_recipe("mfcc-svm", ["model.C=[1.0]"])
    with pytest.raises(UserError, match=r"other data under the name tiny.*another out folder"):
        compare(other, corpus=changed_corpus(tiny_corpus, tmp_path))
    assert state_of(first.folder) == before


@pytest.mark.parametrize("key", ["recipe", "precision"])
def test_another_configuration_is_never_overwritten(compare, tiny_recipes, key):
    recipe = load_recipe(tiny_recipes["tiny-resnet"])
    first = compare(recipe)
    (path,) = first.folder.glob("tiny-resnet-*/fold1-seed0.json")
    signature = json.loads(path.read_text())
    signature["identity"][key] = "other"
    path.write_text(json.dumps(signature))
    before = state_of(first.folder)
    with pytest.raises(UserError, match=f"another configuration \\({key} other"):
        compare(recipe)
    assert state_of(first.folder) == before


def test_whisper_is_trained_on_no_more_than_its_positions_cover(compare):
    small = "{d_model: 16, encoder_layers: 1, encoder_attention_heads: 2, encoder_ffn_dim: 16, decoder_layers: 1"
    settings = ["model.architecture=whisper", f"model.config={small}, max_source_positions: 20}}", "training.epochs=1"]
    recipe = load_recipe("wav2vec2-tiny", [*settings, "training.max_seconds=60"], precision="fp32")
    # Clips last up to 0.5 s and 20 positions 0.4 s.
    assert compare(recipe).trained == 1


def test_another_recipe_of_the_same_name_is_found_before_training(compare):
    first = compare("mfcc-svm")
    path = first.folder / "mfcc-svm" / "fold1-seed0.json"
    signature = json.loads(path.read_text())
    signature["identity"]["recipe"] = signature["recipe"]["hash"] = "older"
    path.write_text(json.dumps(signature))
    before = state_of(first.folder)
    with pytest.raises(UserError, match=r"another configuration \(recipe older"):
        compare("mfcc-svm", seeds=[1])
    assert state_of(first.folder) == before


def test_a_test_subset_without_clips_is_found_before_training(compare, tiny_corpus, tmp_path):
    corpus = load_corpus(str(tiny_corpus))
    sides = corpus.clips["speaker"].eq(corpus.clips["speaker"].min()).map({True: "dev", False: "train"})
    corpus.clips[["clip"]].assign(side=sides).to_csv(tmp_path / "untested.csv", index=False)
    split = str(tmp_path / "untested.csv")
    with pytest.raises(UserError, match=r"the test subset of fold 1 .* or use dev_only"):
        compare("mfcc-svm", protocol=split, out=tmp_path / "out")
    assert not (tmp_path / "out" / "ledger.jsonl").exists()
    assert compare("mfcc-svm", protocol=split, out=tmp_path / "out", dev_only=True).trained == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"identity": {}}'])
def test_a_file_that_is_not_a_signature_is_in_the_way(compare, text):
    path = compare("mfcc-svm").folder / "mfcc-svm" / "fold1-seed0.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"fold1-seed0\.json is not the signature"):
        compare("mfcc-svm")


def test_two_processes_never_do_the_same_run(compare, tmp_path):
    with (
        locked(tmp_path / "out" / "tiny" / "speaker-2" / "mfcc-svm" / "fold1-seed0"),
        pytest.raises(UserError, match=r"another process is working on .*mfcc-svm/fold1-seed0"),
    ):
        compare("mfcc-svm")
    assert compare("mfcc-svm").trained == 1


def test_a_run_that_another_process_has_done_meanwhile_is_not_done_again(compare, monkeypatch):
    locked = execute.locked

    @contextmanager
    def overtaken(files):
        monkeypatch.setattr(execute, "locked", locked)
        compare("mfcc-svm")
        with locked(files):
            yield

    monkeypatch.setattr(execute, "locked", overtaken)
    assert len(ledger_of(compare("mfcc-svm"))) == 1


def test_precision_is_part_of_the_identity(compare, tiny_recipes):
    result = compare(load_recipe(tiny_recipes["tiny-resnet"], precision="bf16"), tiny_recipes["tiny-resnet"])
    precisions = {json.loads(path.read_text())["identity"]["precision"] for path in result.folder.glob("*/fold*.json")}
    assert precisions == {"bf16", "fp32"}
    assert result.trained == 2


# --- development
# --------------------------------------------------------------------------------------------------


def test_dev_only_never_reads_the_test_subset(compare, tiny_corpus, monkeypatch):
    test = split(load_corpus(str(tiny_corpus)), "speaker-2").folds[0].test
    heard = []
    key = store.entry_key
    monkeypatch.setattr(store, "entry_key", lambda clip, *rest: heard.append(clip.clip) or key(clip, *rest))
    result = compare("mfcc-svm", dev_only=True)
    assert heard
    assert not set(heard) & set(test)
    assert set(table_of(result)["side"]) == {"dev"}
    assert signature_of(result)["sides"] == ["dev"]
    assert ledger_of(result) == []
    assert result.report.is_file()


def test_a_dev_only_run_becomes_a_whole_one(compare):
    development = compare("mfcc-svm", dev_only=True)
    dev = table_of(development)
    result = compare("mfcc-svm")
    assert result.trained == 1
    table = table_of(result)
    pd.testing.assert_frame_equal(table[table["side"] == "dev"].reset_index(drop=True), dev)
    assert signature_of(result)["sides"] == ["dev", "test"]
    assert len(ledger_of(result)) == 1
    assert compare("mfcc-svm", dev_only=True).trained == 0
    assert set(table_of(result)["side"]) == {"dev", "test"}


@pytest.mark.parametrize("dev_only", [True, False])
def test_a_model_folder_is_made_later_without_reading_the_test_subset_again(compare, dev_only):
    first = compare("mfcc-svm")
    before = state_of(first.folder / "mfcc-svm")
    result = compare("mfcc-svm", dev_only=dev_only, keep_models=True)
    assert (first.models, result.trained) == ((), 1)
    assert result.models[0].is_dir()
    after = state_of(first.folder / "mfcc-svm")
    assert {path: state for path, state in after.items() if path in before} == before
    assert len(ledger_of(result)) == 1
    assert compare("mfcc-svm", keep_models=True).trained == 0


# --- exclusions and refusals
# --------------------------------------------------------------------------------------


def test_exclusions_are_listed_by_fold_and_subset_and_move_no_other_clip(compare, tiny_corpus, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_corpus.parent, copy)
    (copy / "s0_calm_0.wav").write_bytes(b"")
    result = compare("mfcc-svm", corpus=copy / "tiny.csv", folds=[])
    assert [(entry.clip, entry.reason) for entry in result.exclusions] == [("s0_calm_0", "empty file")]
    folds = split(load_corpus(str(tiny_corpus)), "speaker-2").folds
    for fold in folds:
        signature = signature_of(result, stem=f"fold{fold.number}-seed0")
        (side,) = [name for name in ("train", "dev", "test") if "s0_calm_0" in getattr(fold, name)]
        assert signature["exclusions"] == [
            {"clip": "s0_calm_0", "path": "s0_calm_0.wav", "reason": "empty file", "fold": fold.number, "side": side}
        ]
        table = table_of(result, stem=f"fold{fold.number}-seed0")
        assert sorted(table.loc[table["side"] == "test", "clip"]) == sorted(set(fold.test) - {"s0_calm_0"})


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range(compare, seed):
    with pytest.raises(UserError, match=f"seed {seed}"):
        compare("mfcc-svm", seeds=[seed])


def test_a_ledger_that_cannot_be_written_stops_before_the_test_subset_is_read(compare, tmp_path):
    (tmp_path / "out" / "ledger.jsonl").mkdir(parents=True)
    with pytest.raises(MachineError, match=r"ledger\.jsonl"):
        compare("mfcc-svm")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_runs_can_be_read_back(tiny_comparison):
    for path in tiny_comparison.folder.glob("*/fold*.parquet"):
        assert read_run(path).signature["fold"] == 1


def test_entries_that_are_not_clips_count_and_are_signed(compare, tmp_path, make_tone):
    for number in range(20):
        for label, hz in (("calm", 200), ("sad", 900)):
            make_tone(tmp_path / f"own/{label}/{number}.wav", hz=hz + 7 * number)
    make_tone(tmp_path / "own/sad/.old.wav")
    with pytest.raises(FindingsError, match="1 of 41 clips cannot be used"):
        compare("mfcc-svm", corpus=tmp_path / "own", max_excluded=0.02)
    result = compare("mfcc-svm", corpus=tmp_path / "own", dev_only=True)
    assert [entry.clip for entry in result.exclusions] == ["sad/.old.wav"]
    (entry,) = signature_of(result)["exclusions"]
    assert (entry["clip"], entry["path"], entry["side"]) == ("sad/.old.wav", ".old.wav", "none")
    assert "sad/.old.wav" in result.report.with_name("report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("max_excluded", [0.05, 1.0])
def test_a_label_that_would_be_lost_is_always_an_error(compare, tmp_path, make_tone, max_excluded):
    for number in range(4):
        for label in ("calm", "sad"):
            make_tone(tmp_path / f"own/{label}/{number}.wav", hz=200 + 31 * number + 300 * (label == "sad"))
    (tmp_path / "own/angry").mkdir()
    (tmp_path / "own/angry/1.wav").symlink_to("../.git/annex/objects/K.wav/K.wav")
    with pytest.raises(UserError, match=r"the label 'angry' .*git annex get"):
        compare("mfcc-svm", corpus=tmp_path / "own", max_excluded=max_excluded)


def test_results_of_another_version_of_the_protocol_are_not_mixed_in(compare, tiny_corpus, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_corpus.parent, copy)
    shutil.copy(copy / "s0_calm_0.wav", copy / "s5_sad_1.wav")
    result = compare("mfcc-svm", corpus=copy / "tiny.csv", protocol="speaker-3", dev_only=True)
    signature = signature_of(result)
    assert signature["protocol"]["version"] == signature["identity"]["protocol_version"]
    assert signature["identity"]["protocol_version"].startswith("2-")
    path = result.folder / "mfcc-svm" / "fold1-seed0.json"
    del signature["identity"]["protocol_version"], signature["protocol"]["version"]
    path.write_text(json.dumps(signature), encoding="utf-8")
    for recipe in ("mfcc-svm", "wav2vec2-tiny"):
        with pytest.raises(UserError, match="was made with other folds of speaker-3"):
            compare(recipe, corpus=copy / "tiny.csv", protocol="speaker-3", dev_only=True)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("setting", ["hidden_size=0", "conv_kernel=[1000000,8]", "conv_stride=[0,8]", "hidden_act=foo"])
def test_a_configuration_that_transformers_cannot_use_is_a_sentence(compare, tiny_recipes, setting):
    recipe = load_recipe(tiny_recipes["tiny-wav2vec2"], [f"model.config.{setting}"])
    with pytest.raises(UserError, match="wav2vec2") as caught:
        compare(recipe)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_masks_for_a_recipe_that_reads_the_waveform_are_refused(compare, tiny_recipes):
    changes = ["augmentation.time_masks=2", "augmentation.time_width=9"]
    with pytest.raises(UserError, match="tiny-wav2vec2 reads the waveform"):
        compare(load_recipe(tiny_recipes["tiny-wav2vec2"], changes))
