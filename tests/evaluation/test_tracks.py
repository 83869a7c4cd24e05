from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tests.conftest import EMOTIONS

from serlab.core import UserError
from serlab.corpora import descriptions
from serlab.evaluation.tracks import on_track, plurality, track, votes_for, votes_of

TRACKS = descriptions()["crema-d"].tracks
LABELS = ("happy", "neutral", "sad")
VOICE = {"a": (8, 2, 0), "b": (7, 3, 0), "c": (4, 4, 2), "d": (0, 0, 0), "e": (0, 1, 9)}
FACE = {"a": (5, 5, 0), "b": (0, 9, 0), "c": (1, 0, 0), "d": (1, 2, 0), "e": (0, 0, 1)}


def corpus_clips() -> pd.DataFrame:
    clips = pd.DataFrame({"clip": list(VOICE), "speaker": "s", "label": ["happy", "happy", "sad", "sad", "sad"]})
    clips["level"] = ["LO", "XX", "HI", "XX", "LO"]
    for modality, votes in (("voice", VOICE), ("face", FACE)):
        clips[[f"votes_{modality}_{label}" for label in LABELS]] = list(votes.values())
    return clips


@pytest.mark.parametrize(
    ("name", "labels", "dropped"),
    [
        ("intended", {"a": "happy", "b": "happy", "c": "sad", "d": "sad", "e": "sad"}, {}),
        ("perceived", {"a": "happy", "b": "happy", "e": "sad"}, {"tied": 1, "without votes": 1}),
        ("perceived-face", {"b": "neutral", "c": "happy", "d": "neutral", "e": "sad"}, {"tied": 1}),
        ("agreement>=0.8", {"a": "happy", "e": "sad"}, {"tied": 1, "without votes": 1, "below that share": 1}),
        ("agreement>=.7", {"a": "happy", "b": "happy", "e": "sad"}, {"tied": 1, "without votes": 1}),
        ("level-LO", {"a": "happy", "e": "sad"}, {"of another level": 3}),
    ],
)
def test_each_track_has_its_labels_and_counts_the_rest(name, labels, dropped):
    found = track(corpus_clips(), LABELS, name, TRACKS)
    assert found.name == name
    assert found.labels.to_dict() == labels
    assert found.dropped == dropped
    assert sum(dropped.values()) + len(labels) == len(VOICE)


def test_the_description_says_what_was_dropped():
    described = {
        name: track(corpus_clips(), LABELS, name, TRACKS).description for name in ("intended", "perceived-face")
    }
    assert described["intended"] == "the intended label; no clip dropped"
    assert described["perceived-face"] == "plurality of face votes; 1 of 5 clips tied and dropped"
    description = track(corpus_clips(), LABELS, "agreement>=0.8", TRACKS).description
    assert description.startswith("plurality of voice votes with a share of at least 0.8; 3 of 5 clips dropped: ")
    assert "1 tied" in description
    assert "1 below that share" in description


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("percieved", "unknown track 'percieved'; did you mean 'perceived'"),
        ("level-XX", "unknown track 'level-XX'"),
        ("agreement>=high", "unknown track"),
        ("agreement>=1.1", "expected above 0 and at most 1"),
        ("agreement>=0", "expected above 0 and at most 1"),
        ("perceived-both", "no both votes: its table has no column votes_both_happy"),
        ("level-MD", "no clip has a label on the track level-MD"),
    ],
)
def test_what_cannot_be_had_is_refused(name, sentence):
    with pytest.raises(UserError, match=sentence):
        track(corpus_clips(), LABELS, name, TRACKS)


def test_a_corpus_without_levels_has_no_level_track():
    with pytest.raises(UserError, match="needs a column level"):
        track(corpus_clips().drop(columns="level"), LABELS, "level-LO", TRACKS)


def test_predictions_take_the_tracks_label_and_lose_clips_without_one():
    rows = pd.DataFrame({"clip": ["c", "b", "a", "b"], "seed": [0, 0, 0, 1], "label": "happy"})
    moved = on_track(rows, track(corpus_clips(), LABELS, "perceived-face", TRACKS))
    assert moved["clip"].tolist() == ["c", "b", "b"]
    assert moved["seed"].tolist() == [0, 0, 1]
    assert moved["label"].tolist() == ["happy", "neutral", "neutral"]
    assert rows["label"].eq("happy").all()


def test_predictions_that_the_track_cannot_judge_are_refused():
    perceived = track(corpus_clips(), LABELS, "perceived", TRACKS)
    with pytest.raises(UserError, match="has no clip z"):
        on_track(pd.DataFrame({"clip": ["a", "z"]}), perceived)
    with pytest.raises(UserError, match="no clip of the predictions has a label on the track perceived"):
        on_track(pd.DataFrame({"clip": ["c", "d"]}), perceived)


def test_votes_are_found_by_clip_in_any_order():
    votes = votes_of(corpus_clips(), LABELS)
    assert votes_for(votes, ["e", "a", "e"]).tolist() == [[0, 1, 9], [8, 2, 0], [0, 1, 9]]
    assert votes_of(corpus_clips(), ("sad", "happy")).loc["a"].to_dict() == {"sad": 0, "happy": 8}
    with pytest.raises(UserError, match="no votes of clip z"):
        votes_for(votes, ["a", "z"])
    with pytest.raises(UserError, match="no voce votes: its table has no column votes_voce_happy"):
        votes_of(corpus_clips(), LABELS, "voce")


@given(arrays(np.int64, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6), elements=st.integers(0, 5)))
def test_the_plurality_is_the_only_most_common_vote(votes):
    for row, place in zip(votes, plurality(votes), strict=True):
        ballots = Counter({label: int(count) for label, count in enumerate(row) if count}).most_common(2)
        alone = len(ballots) == 1 or (len(ballots) == 2 and ballots[0][1] > ballots[1][1])
        assert place == (ballots[0][0] if alone else -1)


@pytest.mark.cremad
@pytest.mark.parametrize(
    ("name", "column", "ties"),
    [("perceived", "VoiceVote", 644), ("perceived-face", "FaceVote", 470), ("perceived-both", "MultiModalVote", 420)],
)
def test_perceived_labels_of_cremad_are_its_own_summary(cremad_root, cremad_clips, name, column, ties):
    found = track(cremad_clips, EMOTIONS, name, TRACKS)
    assert found.dropped == {"tied": ties}
    assert f"{ties} of 7,442 clips tied and dropped" in found.description
    theirs = pd.read_csv(cremad_root / "processedResults/summaryTable.csv").set_index("FileName")[column]
    assert theirs[found.left_out.index].str.contains(":").all()
    assert (theirs[found.labels.index] == found.labels.str[0].str.upper()).all()


@pytest.mark.cremad
def test_levels_and_agreement_of_cremad(cremad_clips):
    for level in ("LO", "MD", "HI"):
        assert len(track(cremad_clips, EMOTIONS, f"level-{level}", TRACKS).labels) == 455
    names = ("perceived", "agreement>=0.5", "agreement>=1")
    sizes = [len(track(cremad_clips, EMOTIONS, name, TRACKS).labels) for name in names]
    assert sizes[0] == 6798
    assert sizes[0] > sizes[1] > sizes[2] > 0
