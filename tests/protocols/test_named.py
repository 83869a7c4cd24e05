from __future__ import annotations

import hashlib
import json
import shutil
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import EMOTIONS
from tests.recordings.conftest import RATE, take

from serlab.core import UserError
from serlab.corpora import descriptions, load_corpus
from serlab.corpora.base import Corpus
from serlab.corpora.described import official_clips
from serlab.protocols import Split, default_protocol, definitions, fitting_split, protocol_names, split

CREMA_D = descriptions()["crema-d"]
# Sides before exclusions: the table of CREMA-D's protocols, from the sources named in
# serlab.protocols.
EMO_SUPERB_TESTS = (1463, 1470, 1476, 1476, 1557)
TFDS_TEST = "1010 1013 1022 1026 1037 1038 1040 1045 1047 1048 1059 1065 1066 1068 1071 1073 1084 1086 1088"
TFDS_DEV = "1015 1020 1021 1030 1050 1070 1079 1089 1090"
EVAR_TEST = "1001 1004 1017 1019 1020 1025 1026 1029 1033 1035 1042 1044 1050 1053 1056 1058 1060 1069 1083"
EVAR_DEV = "1009 1011 1022 1034 1039 1047 1066 1070 1082"
DOUBTFUL = {"1040_ITH_SAD_XX", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"}


def corpus_of(clips: pd.DataFrame, name: str = "own", **more) -> Corpus:
    clips = clips.sort_values("clip", ignore_index=True)
    return Corpus(name, clips, tuple(sorted(set(clips["label"]))), "", "", "", "", **more)


def corpus_with(rows: list[tuple[str, str]], **more) -> Corpus:
    """A corpus of clips from (speaker, label), in order."""
    clips = pd.DataFrame(rows, columns=["speaker", "label"])
    return corpus_of(clips.assign(clip=[f"clip{number:04d}" for number in range(len(rows))]), **more)


def balanced(speakers: int, labels: int = 3, **more) -> Corpus:
    return corpus_with([(f"s{s:02d}", f"label{n}") for s in range(speakers) for n in range(labels)], **more)


@pytest.fixture(scope="module")
def crema_d() -> Corpus:
    clips = official_clips(CREMA_D)[["clip"]]
    parts = clips["clip"].str.split("_", expand=True)
    return corpus_of(
        clips.assign(speaker=parts[0], sentence=parts[1], label=parts[2], path=""), "crema-d", description=CREMA_D
    )


def sizes(split: Split) -> list[tuple[int, int, int]]:
    return [(len(fold.train), len(fold.dev), len(fold.test)) for fold in split.folds]


def actors(clips: tuple[str, ...]) -> str:
    return " ".join(sorted({clip[:4] for clip in clips}))


@pytest.mark.parametrize(
    ("name", "expected", "by_speaker", "by_sentence"),
    [
        ("emo-superb-5", list(EMO_SUPERB_TESTS), True, False),
        ("tfds", [1556], True, False),
        ("usc-5", [1539, 1476, 1476, 1476, 1474], True, False),
        ("evar", [1551], True, False),
        ("seed-random", [1489], False, False),
        ("clip-random-5", list(EMO_SUPERB_TESTS), False, False),
        ("actor-sentence-5", [324, 504, 216, 216, 227], True, True),
    ],
)
def test_cremads_protocols_have_their_published_sizes(crema_d, name, expected, by_speaker, by_sentence):
    found = split(crema_d, name)
    assert [len(fold.test) for fold in found.folds] == expected
    assert (found.speaker_disjoint, found.sentence_disjoint) == (by_speaker, by_sentence)
    assert found.name == name
    assert found.definition == definitions()[name]
    assert [fold.number for fold in found.folds] == list(range(1, len(expected) + 1))
    for fold in found.folds:
        for side in (fold.train, fold.dev, fold.test):
            assert list(side) == sorted(set(side))
        for one, other in combinations((fold.train, fold.dev, fold.test), 2):
            assert not set(one) & set(other)


def test_emo_superb_has_blocks_of_actors_in_cyclic_roles(crema_d):
    folds = split(crema_d, "emo-superb-5").folds
    ends = [(fold.test[0][:4], fold.test[-1][:4]) for fold in folds]
    assert ends == [("1001", "1018"), ("1019", "1036"), ("1037", "1054"), ("1055", "1072"), ("1073", "1091")]
    assert all(fold.dev == following.test for fold, following in pairwise(folds))
    assert folds[4].dev == folds[0].test
    assert all(len(fold.train) + len(fold.dev) + len(fold.test) == 7442 for fold in folds)


def test_tfds_is_tensorflow_datasets_split(crema_d):
    (fold,) = split(crema_d, "tfds").folds
    assert (actors(fold.test), actors(fold.dev)) == (TFDS_TEST, TFDS_DEV)
    assert sizes(split(crema_d, "tfds")) == [(5144, 738, 1556)]
    assert not DOUBTFUL & {*fold.train, *fold.dev, *fold.test}


def test_evar_is_evars_split(crema_d):
    (fold,) = split(crema_d, "evar").folds
    assert (actors(fold.test), actors(fold.dev)) == (EVAR_TEST, EVAR_DEV)
    assert sizes(split(crema_d, "evar")) == [(5155, 732, 1551)]
    assert not DOUBTFUL & {*fold.train, *fold.dev, *fold.test}


def test_usc_is_sklearns_kfold_with_the_last_fifteen_for_development(crema_d):
    from sklearn.model_selection import KFold

    everyone = sorted(set(crema_d.clips["speaker"]))
    folds = split(crema_d, "usc-5").folds
    for fold, (train, test) in zip(folds, KFold(5, shuffle=False).split(everyone), strict=True):
        assert actors(fold.test) == " ".join(everyone[i] for i in test)
        assert actors(fold.dev) == " ".join(everyone[i] for i in train[-15:])
        assert "1076_MTI_SAD_XX" not in {*fold.train, *fold.dev, *fold.test}
    assert sum(len(fold.test) for fold in folds) == 7441


def test_seed_random_is_the_permutation_of_seed_42(crema_d):
    (fold,) = split(crema_d, "seed-random").folds
    names = np.array(sorted(crema_d.clips["clip"]))
    assert set(fold.test) == set(names[np.random.RandomState(42).permutation(7442)[:1489]])
    assert sizes(split(crema_d, "seed-random")) == [(5357, 596, 1489)]


def test_the_leaky_twin_tests_every_clip_once_in_blocks_of_the_same_sizes(crema_d):
    leaky, twin = split(crema_d, "clip-random-5"), split(crema_d, "emo-superb-5")
    assert sizes(leaky) == sizes(twin)
    assert sorted(clip for fold in leaky.folds for clip in fold.test) == list(crema_d.clips["clip"])
    assert all(len(actors(fold.test).split()) == 91 for fold in leaky.folds)


def test_actor_sentence_shares_neither_actors_nor_sentences(crema_d):
    folds = split(crema_d, "actor-sentence-5").folds
    groups = ["DFA IWL TSI", "IEO IWW WSI", "IOM MTI", "ITH TAI", "ITS TIE"]
    assert [" ".join(sorted({clip[5:8] for clip in fold.test})) for fold in folds] == groups
    blocks = [set(actors(fold.test).split()) for fold in split(crema_d, "emo-superb-5").folds]
    for k, fold in enumerate(folds):
        assert fold.dev == folds[(k + 1) % 5].test
        assert {clip[:4] for clip in fold.test} == blocks[k]
        assert len({clip[5:8] for clip in fold.train}) == 12 - len({clip[5:8] for clip in (*fold.dev, *fold.test)})


def test_a_protocol_does_not_depend_on_which_files_exist(crema_d):
    here = corpus_of(crema_d.clips.assign(path="/somewhere"), "crema-d", description=crema_d.description)
    assert split(here, "tfds") == split(crema_d, "tfds")


def test_speaker_3_on_24_similar_voices_is_balanced_and_stays_as_it_is():
    corpus = corpus_with([(f"voice{v:02d}", label) for v in range(1, 25) for label in EMOTIONS for _ in range(12)])
    found = split(corpus, "speaker-3")
    speaker_of = dict(zip(corpus.clips["clip"], corpus.clips["speaker"], strict=True))
    tests = [sorted({speaker_of[clip] for clip in fold.test}) for fold in found.folds]
    assert tests == [[f"voice{v:02d}" for v in range(first, 25, 3)] for first in (1, 2, 3)]
    assert sorted({speaker_of[clip] for clip in found.folds[0].dev}) == ["voice03", "voice11", "voice18"]
    assert sizes(found) == [(936, 216, 576)] * 3
    assert found.speaker_disjoint is True
    assert found.sentence_disjoint is None


def test_holdout_is_60_20_20():
    corpus = balanced(20)
    assert sizes(split(corpus, "holdout")) == [(36, 12, 12)]


def test_a_label_of_few_speakers_stays_in_training_if_possible():
    rows = [(f"s{s}", label) for s in range(9) for label in ("a", "b")]
    corpus = corpus_with([*rows, ("s2", "rare"), ("s5", "rare")])
    for fold in split(corpus, "speaker-3").folds:
        labels = corpus.clips.set_index("clip").loc[list(fold.train), "label"]
        assert set(labels) == {"a", "b", "rare"}


def test_a_label_that_no_training_clip_has_is_named_with_its_fold():
    corpus = corpus_with([*((f"s{s}", label) for s in range(6) for label in ("a", "b")), ("s3", "lonely")])
    with pytest.raises(UserError, match=r"no training clip of fold [1-3] is labelled 'lonely'"):
        split(corpus, "speaker-3")


def test_a_label_that_no_test_clip_has_is_allowed():
    rows = [(f"s{s}", label) for s in range(9) for label in ("a", "b")]
    corpus = corpus_with([*rows, ("s0", "rare"), ("s1", "rare")])
    tests = [corpus.clips.set_index("clip").loc[list(fold.test), "label"] for fold in split(corpus, "speaker-3").folds]
    assert any("rare" not in set(labels) for labels in tests)


@st.composite
def corpora(draw, speakers_known: bool = True) -> Corpus:
    labels = [f"label{n}" for n in range(draw(st.integers(2, 4)))]
    rows = []
    for number in range(draw(st.integers(1, 12))):
        said = draw(st.lists(st.sampled_from(labels), min_size=1, max_size=12))
        rows += [(f"s{number:02d}" if speakers_known else "", label) for label in said]
    return corpus_with(draw(st.permutations(rows)), speakers_known=speakers_known)


def check_split(corpus: Corpus, found: Split) -> None:
    everything = set(corpus.clips["clip"])
    label_of = dict(zip(corpus.clips["clip"], corpus.clips["label"], strict=True))
    for fold in found.folds:
        assert len(fold.train) + len(fold.dev) + len(fold.test) == len(everything)
        assert {*fold.train, *fold.dev, *fold.test} == everything
        assert min(len(fold.train), len(fold.dev), len(fold.test)) > 0
        assert {label_of[clip] for clip in fold.train} == set(corpus.labels)


@settings(max_examples=60)
@given(corpora(), st.integers(2, 6))
def test_speaker_k_never_shares_a_speaker_and_tests_every_clip_once(corpus, k):
    speakers = corpus.clips.groupby("clip")["speaker"].first()
    try:
        found = split(corpus, f"speaker-{k}")
    except UserError as error:
        few = corpus.clips["speaker"].nunique() < max(k, 4 if k == 2 else k)
        assert few == ("it needs at least" in str(error))  # noqa: PT017 -- either outcome is checked
        return
    check_split(corpus, found)
    assert found.speaker_disjoint is True
    assert sorted(clip for fold in found.folds for clip in fold.test) == list(corpus.clips["clip"])
    tested = [speakers[list(fold.test)].nunique() for fold in found.folds]
    assert max(tested) - min(tested) <= 1
    for fold, count in zip(found.folds, tested, strict=True):
        others = speakers.nunique() - count
        assert abs(speakers[list(fold.dev)].nunique() - others / 5) < 1
    assert split(corpus, f"speaker-{k}") == found


@settings(max_examples=60)
@given(corpora())
def test_holdout_never_shares_a_speaker(corpus):
    try:
        found = split(corpus, "holdout")
    except UserError:
        return
    check_split(corpus, found)
    assert found.speaker_disjoint is True
    assert len(found.folds) == 1


@settings(max_examples=40)
@given(corpora(speakers_known=False), st.sampled_from(["speaker-2", "speaker-5", "holdout"]))
def test_unknown_speakers_are_split_by_clip_and_by_label(corpus, name):
    try:
        found = split(corpus, name)
    except UserError:
        return
    check_split(corpus, found)
    assert found.speaker_disjoint is None
    assert "speakers are unknown" in found.definition


def test_clips_without_speakers_are_stratified():
    corpus = corpus_with([("", label) for label in "abc" for _ in range(20)], speakers_known=False)
    label_of = dict(zip(corpus.clips["clip"], corpus.clips["label"], strict=True))
    for fold in split(corpus, "speaker-5").folds:
        assert sorted(label_of[clip] for clip in fold.test) == [*"aaaa", *"bbbb", *"cccc"]


@pytest.mark.parametrize(
    ("corpus", "name", "why", "fits"),
    [
        (balanced(12), "tfds", "crema-d alone", "fit: speaker-2, speaker-3, speaker-5, speaker-10, holdout."),
        (balanced(3), "speaker-5", "it needs at least 5 speakers and this has 3", "these fit: speaker-3, holdout."),
        (balanced(3), "speaker-2", "it needs at least 4 speakers", "these fit: speaker-3, holdout."),
        (balanced(1), "speaker-5", "at least 5 speakers and this has 1", "none fits; it needs more speakers"),
        (balanced(2), "holdout", "at least 3 speakers and this has 2", "none fits"),
        (balanced(4), "speaker-1", "k must be 2 or more", "these fit: speaker-2, speaker-3, holdout."),
        (balanced(1, 2, speakers_known=False), "speaker-5", "at least 5 clips and this has 2", "none fits"),
        (balanced(12, description=CREMA_D), "emo-superb-5", "7442 clips and this has 36", "these fit: speaker-2"),
    ],
)  # fmt: skip
def test_a_protocol_that_does_not_fit_names_those_that_do(corpus, name, why, fits):
    with pytest.raises(UserError) as raised:
        split(corpus, name)
    assert f"protocol {name!r} does not fit corpus {corpus.name!r}" in str(raised.value)
    assert why in str(raised.value)
    assert fits in str(raised.value)


def test_an_unknown_protocol_is_named_with_the_nearest():
    with pytest.raises(UserError, match="unknown protocol 'emo-superb'; did you mean 'emo-superb-5'"):
        split(balanced(6), "emo-superb")


def test_every_listed_protocol_fits(crema_d):
    assert protocol_names() == tuple(definitions())
    others = {name for known in descriptions().values() if known.name != "crema-d" for name in known.protocols}
    assert set(protocol_names(crema_d)) >= set(definitions()) - {"speaker-<k>"} - others
    assert not others & set(protocol_names(crema_d))
    for name in protocol_names(balanced(7)):
        assert split(balanced(7), name).folds


def test_defaults(crema_d):
    assert default_protocol(crema_d) == "emo-superb-5"
    assert default_protocol(balanced(9, description=descriptions()["synthetic"])) == "speaker-3"
    assert default_protocol(balanced(9)) == "speaker-5"


# --- copies of one recording
# ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    """The table of 8 speakers with 2 clips per label; s0's first calm clip is s5's first sad one, as FLAC."""
    folder = tmp_path_factory.mktemp("voices")
    rows = ["path,label,speaker"]
    for speaker in range(8):
        for number, label in enumerate(("calm", "calm", "sad", "sad")):
            name = f"s{speaker}_{number}.wav"
            if (speaker, number) == (5, 2):
                name = "s5_2.flac"
                soundfile.write(folder / name, take(0, 0, 1.5), RATE)
            else:
                soundfile.write(folder / name, take(10 * speaker + number, number, 1.5), RATE)
            rows.append(f"{name},{label},s{speaker}")
    (folder / "all.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "apart.csv").write_text("\n".join(row for row in rows if "flac" not in row) + "\n", encoding="utf-8")
    return folder


def sides_of(split: Split, clip: str) -> list[int]:
    return [
        side for fold in split.folds for side, clips in enumerate((fold.train, fold.dev, fold.test)) if clip in clips
    ]


@pytest.mark.parametrize("name", ["speaker-2", "speaker-3", "speaker-5", "holdout"])
def test_duplicates_of_a_recording_stay_in_one_subset_and_the_version_says_so(voices: Path, name: str) -> None:
    with_copies = split(load_corpus(str(voices / "all.csv")), name)
    assert sides_of(with_copies, "s0_0") == sides_of(with_copies, "s5_2")
    assert with_copies.speaker_disjoint
    assert with_copies.version.startswith("2-")
    assert "Duplicates of a recording stay in one subset" in with_copies.definition
    without = split(load_corpus(str(voices / "apart.csv")), name)
    assert (without.version, without.definition) == ("1", definitions()[name if name == "holdout" else "speaker-<k>"])


def test_duplicates_stay_together_if_speakers_are_unknown(voices: Path, tmp_path: Path) -> None:
    table = pd.read_csv(voices / "all.csv").drop(columns="speaker")
    table["path"] = [str(voices / name) for name in table["path"]]
    table.to_csv(tmp_path / "unknown.csv", index=False)
    corpus = load_corpus(str(tmp_path / "unknown.csv"))
    ids = {Path(clip).name: clip for clip in corpus.clips["clip"]}
    found = split(corpus, "speaker-5")
    assert sides_of(found, ids["s0_0"]) == sides_of(found, ids["s5_2"])


def test_duplicates_of_one_speaker_change_nothing(voices: Path, tmp_path: Path) -> None:
    table = pd.read_csv(voices / "apart.csv")
    table["path"] = [str(voices / name) for name in table["path"]]
    shutil.copy(voices / "s3_0.wav", tmp_path / "again.wav")
    more = pd.concat([table, pd.DataFrame([{"path": "again.wav", "label": "calm", "speaker": "s3"}])])
    more.to_csv(tmp_path / "more.csv", index=False)
    assert split(load_corpus(str(tmp_path / "more.csv")), "speaker-3").version == "1"


def test_speakers_whom_duplicates_connect_may_be_too_few(tmp_path: Path, make_tone) -> None:
    rows = ["path,label,speaker"]
    for speaker in range(5):
        for label, hz in (("calm", 200), ("sad", 900)):
            make_tone(tmp_path / f"{speaker}_{label}.wav", hz=hz)
            rows.append(f"{speaker}_{label}.wav,{label},s{speaker}")
    (tmp_path / "same.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="groups of speakers that share a recording, and this has 1"):
        split(load_corpus(str(tmp_path / "same.csv")), "speaker-5")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("emo-superb-5", "8da1a2f93c133838"),
        ("tfds", "bdc8b181ad931f7f"),
        ("usc-5", "38665dcd62af93f3"),
        ("evar", "4c50debf64ea6fed"),
        ("seed-random", "a5e0c286d861fa07"),
        ("clip-random-5", "8ef8e2e9475d5209"),
        ("actor-sentence-5", "c9af5d6fe072f11b"),
    ],
)
def test_published_folds_never_change(crema_d, name, digest):
    folds = [[fold.number, fold.train, fold.dev, fold.test] for fold in split(crema_d, name).folds]
    assert hashlib.sha256(json.dumps(folds).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize(("speakers", "name"), [(6, "speaker-5"), (3, "speaker-3"), (2, None)])
def test_the_split_that_fits_is_the_default_another_or_none(speakers, name):
    found = fitting_split(balanced(speakers))
    assert (found and found.name) == name
