import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from serlab.core import MachineError, UserError
from serlab.core.files import write_json
from serlab.tables.predictions import (
    labels_of,
    logits_of,
    make_table,
    probabilities_of,
    read_foreign,
    read_run,
    read_runs,
    understood,
    write_table,
)

LABELS = ("angry", "sad")
CLIPS = pd.DataFrame({"clip": ["a", "b", "c"], "speaker": [1, 1, 2], "label": ["sad", "angry", "sad"]})
KEYS_OF_A_SIGNATURE = "serlab recipe corpus protocol fold seed precision training cost exclusions versions machine"
SIGNATURE = dict.fromkeys(KEYS_OF_A_SIGNATURE.split()) | {"fold": 2}
LOGITS = np.array([[0.0, 2.0], [1.0, -1.0], [0.5, 0.25]])


def table_of(**changes):
    return make_table(CLIPS, LOGITS, LABELS, side="test", fold=2, seed=1).assign(**changes)


def test_a_table_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "r" / "fold2-seed1.parquet"
    write_table(path, table_of())
    write_json(path.with_suffix(".json"), SIGNATURE)
    run = read_run(path)
    pd.testing.assert_frame_equal(run.table, table_of())
    assert run.signature == SIGNATURE
    assert labels_of(run.table) == LABELS
    assert run.table["speaker"].tolist() == ["1", "1", "2"]
    assert run.table["logit_sad"].dtype == np.float32
    assert [found.path for found in read_runs(tmp_path)] == [path]


@given(arrays(np.float64, (4, 3), elements=st.floats(-500, 500)))
def test_probabilities_are_the_softmax(logits):
    clips = pd.DataFrame({"clip": list("abcd"), "speaker": "s", "label": "x"})
    table = make_table(clips, logits, ("x", "y", "z"), side="test", fold=1, seed=0)
    np.testing.assert_allclose(probabilities_of(table), softmax(logits.astype(np.float32).astype(float), axis=1))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda: table_of(logit_sad=[1.0, np.nan, 0.0]), "not finite, first for clip b"),
        (lambda: table_of(clip=["a", "a", "c"]), "two rows for clip a"),
        (lambda: table_of().drop(columns="speaker"), "no column speaker"),
        (lambda: table_of().drop(columns=["logit_sad", "logit_angry"]), "no column logit_<label>"),
    ],
)
def test_a_table_that_breaks_the_contract_is_neither_written_nor_read(tmp_path, broken, sentence):
    path = tmp_path / "fold1-seed0.parquet"
    with pytest.raises(UserError, match=sentence):
        write_table(path, broken())
    assert list(tmp_path.iterdir()) == []
    broken().to_parquet(path)
    write_json(path.with_suffix(".json"), {})
    with pytest.raises(UserError, match=sentence):
        read_run(path)


def test_the_same_clip_may_be_in_both_subsets(tmp_path):
    path = tmp_path / "fold1-seed0.parquet"
    write_table(path, pd.concat([table_of(), table_of(side="dev")]))
    assert len(pd.read_parquet(path)) == 6


def test_a_run_without_its_signature_says_so(tmp_path):
    path = tmp_path / "fold1-seed0.parquet"
    write_table(path, table_of())
    with pytest.raises(UserError, match=r"fold1-seed0\.json is missing"):
        read_run(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(UserError, match="cannot read the run"):
        read_run(path)
    for text, lacking in (("[]", "serlab"), ('{"serlab": "0.1.0"}', "recipe")):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(UserError, match=f"is not the signature of a run: it has no {lacking}"):
            read_run(path)


def test_a_folder_that_cannot_be_written_to_is_the_machine_s_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="write to another folder"):
        write_table(tmp_path / "file" / "fold1-seed0.parquet", table_of())


def test_foreign_probabilities_become_logarithms(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("clip,prob_sad,prob_angry,extra\n0012,1.0,0.0,x\nb,0.25,0.75,y\n")
    table = read_foreign(path)
    assert table.columns.tolist() == ["clip", "logit_angry", "logit_sad"]
    assert table["clip"].tolist() == ["0012", "b"]
    np.testing.assert_allclose(probabilities_of(table), [[0, 1], [0.75, 0.25]], atol=1e-11)


def test_foreign_logits_stay_and_optional_columns_come_along(tmp_path):
    path = tmp_path / "t.parquet"
    table_of().to_parquet(path)
    np.testing.assert_array_equal(logits_of(read_foreign(path)), LOGITS)
    assert read_foreign(path)["speaker"].tolist() == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prob_sad\n1\n", "needs a column clip"),
        ("clip;prob_sad\na;1\n", "has semicolons between its columns; re-save it with commas"),
        ("clip,prob_sad\n", "is empty; expected one row per clip"),
        ("clip,prob_sad\na,1\n,1\n", "a row without a clip, first row 2"),
        ("clip,score\na,1\n", "either logit_<label> or prob_<label>"),
        ("clip,prob_sad,logit_sad\na,1,1\n", "has both logit_<label> and prob_<label> columns; remove one kind"),
        ("clip,prob_sad\na,1.5\n", "outside 0 to 1"),
        ("clip,prob_sad\na,-0.5\n", "outside 0 to 1"),
        (
            "clip,prob_sad,prob_happy\na,0.5,0.5\nb,0.5,0.2\n",
            "do not sum to 1 over prob_happy, prob_sad, first those of clip b \\(0.7\\)",
        ),
        ("clip,prob_sad,prob_calm\na,1,0\nb,,\nc,1,\n", "scores for only some labels of clip c; fill the row"),
        ("clip,prob_sad\na,inf\n", "not finite, first for clip a"),
        ("clip,prob_sad\na,much\n", "not a number"),
        ("clip,prob_sad,seed\na,1,x\n", "has a seed that is not a whole number"),
        ("clip,prob_sad,fold\na,1,1e30\n", "has a fold that is not a whole number"),
        ("clip,prob_sad,fold\na,1,\nb,1,2\n", "has a fold that is not a whole number"),
        ("", "expected CSV with commas"),
    ],
)
def test_a_foreign_table_that_cannot_be_is_refused(tmp_path, text, sentence):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_foreign(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("wav path,predicted\na,sad\n", "the column 'wav path' looks like the clips: path_column='wav path'"),
        ("clip,pred\na,sad\n", "the column 'pred' looks like predicted: rename it predicted"),
        ("clip,p_sad,p_calm\na,1,0\n", "rename 'p_sad' prob_sad"),
        ("clip,prob_sad,Prob_sad\na,1,0\n", "two columns for the scores of 'sad'"),
        ("clip,prob_\na,1\n", "a column 'prob_' that names no label"),
        ('clip,prob_sad\na,"0,5"\n', "not a number: '0,5' in the column 'prob_sad', row 1; write 0.5"),
        ("clip,prob_sad,prob_calm\na,40,60\n", "outside 0 to 1, first for clip a; divide them by 100"),
        ("clip,logit_sad\na,1e300\n", "not finite, first for clip a"),
        ("clip,prob_sad,seed\na,1,99999999999999999999\n", "a seed that is not a whole number"),
        ("clip,prob_sad,fold\na,1,0.5\n", "a fold that is not a whole number .*: '0.5' for clip a"),
    ],
)
def test_near_misses_and_absurd_values_are_named(tmp_path, text, sentence):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_foreign(path)


def test_columns_are_found_by_any_usual_name_and_others_are_named_once(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("File Name,Actor,Emotion,Side,PROB_sad,prob_calm,age,notes\na,s1,sad,Test,1,0,30,x\n")
    table = read_foreign(path)
    assert table.columns.tolist() == ["clip", "speaker", "label", "side", "logit_calm", "logit_sad"]
    assert table["side"].tolist() == ["test"]
    assert capsys.readouterr().err == f"{path}: columns not used: age, notes.\n"


def test_labels_alone_are_read_and_probabilities_come_first(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("clip,predicted\na,sad\nb,\n")
    assert read_foreign(path).to_dict("list") == {"clip": ["a", "b"], "predicted": ["sad", ""]}
    path.write_text("clip,predicted,prob_calm,prob_sad\na,sad,0.1,0.9\nb,,0.6,0.4\nc,sad,0.7,0.3\n")
    assert read_foreign(path).columns.tolist() == ["clip", "logit_calm", "logit_sad"]
    assert "predicted is not the most probable label in 1 rows" in capsys.readouterr().err


def test_folds_keep_their_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("clip,predicted,fold,seed\na,sad,Session1,3\nb,sad,2,3.0\n")
    assert read_foreign(path)["fold"].tolist() == ["Session1", "2"]
    assert read_foreign(path)["seed"].tolist() == [3, 3]
    path.write_text("clip,predicted,fold\na,sad,0\nb,sad,1\n")
    assert read_foreign(path)["fold"].tolist() == [0, 1]
    path.write_text("clip,predicted,fold\na,sad,\nb,sad,\n")
    assert "fold" not in read_foreign(path)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda path: path.write_bytes(b"PAR1" + b"x" * 50), "cannot read the table"),
        (lambda path: table_of(fold="one").to_parquet(path), "its column fold has cells that are not numbers"),
        (
            lambda path: table_of(logit_sad=[[1.0], [2.0], [0.0]]).to_parquet(path),
            "logit_sad has cells that are not numbers",
        ),
        (lambda path: table_of(clip=[b"a", b"b", b"\xff"]).to_parquet(path), "the column 'clip' of .* holds values"),
        (lambda path: write_json(path.with_suffix(".json"), SIGNATURE | {"fold": "x"}), "its fold is damaged"),
        (lambda path: write_json(path.with_suffix(".json"), SIGNATURE | {"recipe": []}), "its recipe is damaged"),
        (lambda path: path.with_suffix(".json").write_text("[" * 100_000), "cannot read the run"),
    ],
)
def test_a_damaged_run_is_reported_in_a_sentence(tmp_path, broken, sentence):
    path = tmp_path / "fold1-seed0.parquet"
    write_table(path, table_of())
    write_json(path.with_suffix(".json"), SIGNATURE)
    broken(path)
    with pytest.raises(UserError, match=sentence):
        read_run(path)


def test_a_foreign_table_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no table"):
        read_foreign(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["logit", "prob"])
def test_rows_without_scores_are_kept_and_have_none(tmp_path, name):
    path = tmp_path / "t.csv"
    path.write_text(f"clip,{name}_sad,{name}_calm,predicted\na,1,0,sad\nb,,,calm\n")
    table = read_foreign(path)
    assert np.isfinite(logits_of(table)).all(axis=1).tolist() == [True, False]
    assert np.isnan(logits_of(table)[1]).all()


def test_scores_of_other_subsets_may_be_anything():
    cells = pd.DataFrame(
        {
            "clip": list("abcd"),
            "side": ["train", "dev", "Test", "train"],
            "prob_sad": ["n/a", "1", "0.5", "7"],
            "prob_calm": ["", "0", "0.5", ""],
        }
    )
    table = understood(cells, "t.csv", sides=["test", "dev"])
    assert np.isnan(logits_of(table)).all(axis=1).tolist() == [True, False, False, True]
    with pytest.raises(UserError, match="not a number: 'n/a' in the column 'prob_sad', row 1"):
        understood(cells, "t.csv")


def test_seeds_may_have_ten_digits(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("clip,prob_sad,seed\na,1,4294967295\nb,1,999999999999999999\n")
    assert read_foreign(path)["seed"].tolist() == [4294967295, 999999999999999999]
