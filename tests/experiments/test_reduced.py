from __future__ import annotations

import json

import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments.reduced import reduced, smoke_limit
from serlab.protocols import split


@pytest.fixture
def corpus(tiny_corpus):
    return load_corpus(str(tiny_corpus))


def test_a_part_has_a_few_clips_per_label_and_speaker_in_the_same_subsets(corpus):
    whole = split(corpus, "speaker-2")
    part, folds = reduced(corpus, whole, 2)
    assert set(part.clips.groupby(["label", "speaker"]).size()) == {2}
    assert part.labels == corpus.labels
    assert list(part.clips.index) == list(range(len(part.clips)))
    kept = set(part.clips["clip"])
    for fold, left in zip(whole.folds, folds.folds, strict=True):
        for side in ("train", "dev", "test"):
            assert getattr(left, side) == tuple(clip for clip in getattr(fold, side) if clip in kept)
    assert sum(len(fold.test) for fold in folds.folds) == len(kept)


def test_which_clips_depends_on_their_ids_alone(corpus):
    folds = split(corpus, "speaker-2")
    one, two, all_of_them = (reduced(corpus, folds, limit)[0] for limit in (1, 2, 99))
    assert set(one.clips["clip"]) < set(two.clips["clip"]) < set(all_of_them.clips["clip"]) == set(corpus.clips["clip"])
    assert len({part.fingerprint for part in (one, two)} | {corpus.fingerprint}) == 3
    assert reduced(corpus, folds, 1)[0].clips.equals(one.clips)
    assert {clip.rsplit("_", 1)[1] for clip in one.clips["clip"]} > {"0"}


def test_a_part_s_results_lie_apart_and_the_report_says_so(compare, tmp_path):
    whole, part = compare(), compare(limit=2)
    assert whole.folder == tmp_path / "out" / "tiny" / "speaker-2"
    assert part.folder == tmp_path / "out" / "tiny-limit2" / "speaker-2"
    assert part.trained == 1
    assert compare(limit=2).done == 1
    assert "at most 2 clips per label and speaker, 36 of 54" in part.report.with_name("report.md").read_text()
    with pytest.raises(UserError, match="limit=0"):
        compare(limit=0)


def test_a_smoke_run_is_marked_and_never_mistaken_for_a_real_one(compare, tiny_recipes, tmp_path):
    recipes = [tiny_recipes["tiny-resnet"], "mfcc-svm"]
    smoke = compare(*recipes, smoke=True, folds=[])
    assert smoke.folder == tmp_path / "out" / "tiny-smoke" / "speaker-2"
    assert smoke.trained == 2
    for name in ("index.html", "report.md"):
        text = smoke.report.with_name(name).read_text()
        assert "A SMOKE RUN, whose figures mean nothing." in text
        assert "A SMOKE RUN: it shows that everything runs" in text
    told = json.loads(smoke.report.with_name("report.json").read_text())
    assert told["notices"][0]["code"] == "smoke"
    assert told["answer"]["text"].startswith("A SMOKE RUN")
    lines = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    assert [line["smoke"] for line in lines] == [True, True]
    assert {line["corpus"] for line in lines} == {"tiny-smoke"}
    assert compare(*recipes).done == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    assert ["smoke" in line for line in lines] == [True, True, False, False]


def test_a_smoke_run_is_small_whatever_the_corpus(corpus):
    assert smoke_limit(corpus) == 3
    many = corpus.clips.loc[corpus.clips.index.repeat(100)].reset_index(drop=True)
    many["speaker"] = [f"s{number}" for number in range(len(many))]
    assert smoke_limit(type(corpus)("many", many, corpus.labels, "", "", "", "")) == 1


def test_a_smoke_run_has_clips_to_train_on_if_speakers_are_unknown(corpus):
    one = corpus.clips.assign(speaker="")
    limit = smoke_limit(type(corpus)("one", one, corpus.labels, "", "", "", ""))
    assert limit * len(corpus.labels) > 50
