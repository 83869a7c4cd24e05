import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from tests.conftest import EMOTIONS

from serlab.core.settings import plain
from serlab.corpora import descriptions
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.prepare import PreparedTable
from serlab.evaluation.resampling import Resampling
from serlab.evaluation.tracks import track_names
from serlab.evaluation.trust import ATTRIBUTES, human_reference, trust
from serlab.tables.predictions import make_table

TRACKS = descriptions()["crema-d"].tracks


def clips_of(speakers: int = 24) -> pd.DataFrame:
    """Speakers with votes, demographics and levels, as CREMA-D has them."""
    random = np.random.default_rng(0)
    rows = [
        (f"{speaker:02d}_{label}_{take}", f"{speaker:02d}", label)
        for speaker in range(speakers)
        for label in EMOTIONS
        for take in range(4)
    ]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    clips["sentence"] = np.resize([f"t{number}" for number in range(12)], len(clips))
    clips["level"] = np.resize(["LO", "MD", "HI", "XX"], len(clips))
    number = clips["speaker"].astype(int)
    clips["age"], clips["sex"] = 20 + number, np.where(number % 2, "Male", "Female")
    clips["race"], clips["ethnicity"] = np.where(number < 3, "one", "other"), "Not Hispanic"
    truth = clips["label"].map(EMOTIONS.index).to_numpy()
    for modality in ("voice", "face", "both"):
        votes = random.multinomial(9, 0.5 * np.eye(6)[truth] + 0.5 / 6)
        clips[[f"votes_{modality}_{label}" for label in EMOTIONS]] = votes
    return clips


def rows_of(clips: pd.DataFrame, side: str, seed: int = 0, *, sureness: float = 6.0) -> pd.DataFrame:
    """Predictions that are right three times in four and far too sure."""
    random = np.random.default_rng([seed, side == "dev"])
    truth = clips["label"].map(EMOTIONS.index).to_numpy()
    said = np.where(random.random(len(clips)) < 0.75, truth, random.integers(0, 6, len(clips)))
    logits = log_softmax(sureness * np.eye(6)[said] + random.normal(0, 0.8, (len(clips), 6)), axis=1)
    return make_table(clips, logits, EMOTIONS, side=side, fold=1, seed=seed)


def judged(rows: pd.DataFrame, dev: pd.DataFrame, clips: pd.DataFrame | None = None, *, known: bool = True):
    table = PreparedTable("mine", rows, dev, EMOTIONS, known, [])
    return trust(table, count_by_speaker(rows, EMOTIONS), clips, tracks=TRACKS)


@pytest.fixture(scope="module")
def found():
    clips = clips_of()
    dev, test = clips[clips["speaker"] < "12"], clips[clips["speaker"] >= "12"]
    rows = pd.concat([rows_of(test, "test", seed) for seed in (0, 1)], ignore_index=True)
    developed = pd.concat([rows_of(dev, "dev", seed) for seed in (0, 1)], ignore_index=True)
    return judged(rows, developed, clips)


def test_everything_is_there_and_json_can_hold_it(found):
    assert None not in vars(found).values()
    json.dumps(plain(found), allow_nan=False)
    assert [entry.name for entry in found.tracks] == list(track_names(TRACKS))
    assert list(found.groups) == list(ATTRIBUTES)


def test_a_temperature_from_dev_calms_the_test_side(found):
    calibration = found.calibration
    assert [(entry.fold, entry.seed) for entry in calibration.temperatures] == [(1, 0), (1, 1)]
    assert all(entry.value > 1.5 for entry in calibration.temperatures)
    assert calibration.after.ece < calibration.before.ece
    assert calibration.after.nll.value < calibration.before.nll.value
    assert calibration.before.overconfidence.low > 0


def test_sets_cover_what_they_promise_or_say_that_they_cannot(found):
    eighty, ninety, most = found.sets
    assert eighty.speakers.by_speaker.value == pytest.approx(0.8, abs=0.08)
    assert ninety.speakers.mean_size >= eighty.speakers.mean_size
    assert (most.speakers, most.fewest_speakers) == (None, 19)
    assert eighty.speakers.folds == {"1": pytest.approx(eighty.speakers.by_speaker.value)}
    assert most.clips is not None


def test_intended_labels_are_predicted_better_than_perceived_ones(found):
    by_name = {entry.name: entry for entry in found.tracks}
    assert by_name["level-LO"].clips == 12 * 6
    assert by_name["agreement>=0.8"].clips < by_name["perceived"].clips <= 12 * 24
    assert by_name["perceived"].scores["uar"].value < 0.8


def test_people_stand_beside_the_model(found):
    assert found.people.model_fails.clips > 0
    assert len(found.people.model_fails.first) <= 12
    beside = human_reference(rows_of(clips_of(), "test"), clips_of(), EMOTIONS)
    assert beside.people.raters.count == 9 * 24 * 24
    assert 0 < beside.ceiling.uar.value < 1


def test_without_dev_and_corpus_the_rest_still_stands():
    rows = rows_of(clips_of(), "test")
    found = judged(rows, rows.iloc[:0])
    assert found.calibration.temperatures is found.calibration.after is None
    assert found.calibration.without.startswith("there are no rows of the side dev")
    assert found.calibration.before.ece > 0
    assert [getattr(found, part) for part in ("sets", "groups", "tracks", "soft", "people")] == [None] * 5


def in_folds(sizes):
    """Judged and dev rows of folds whose dev sides have these numbers of speakers."""
    rows, dev = [], []
    clips = clips_of(12 + max(sizes))
    for fold, size in enumerate(sizes, start=1):
        part = clips[clips["speaker"] < "12"].assign(speaker=lambda table, fold=fold: f"{fold}-" + table["speaker"])
        rows.append(rows_of(part.assign(clip=f"{fold}-" + part["clip"]), "test").assign(fold=fold))
        dev.append(rows_of(clips[clips["speaker"].astype(int).between(12, 11 + size)], "dev").assign(fold=fold))
    return pd.concat(rows, ignore_index=True), pd.concat(dev, ignore_index=True)


def test_folds_that_do_not_attain_a_level_are_named():
    rows, dev = in_folds([18, 19])
    found = judged(rows, dev)
    ninety, most = found.sets[1:]
    assert (list(ninety.speakers.folds), ninety.speakers.unattained) == (["1", "2"], ())
    assert (list(most.speakers.folds), most.speakers.unattained) == (["2"], (1,))


def test_a_fold_without_dev_is_named_and_nothing_is_fitted():
    rows, dev = in_folds([12, 12])
    found = judged(rows, dev[dev["fold"] == 1])
    assert found.calibration.without == "fold 2 has no rows of the side dev"
    assert found.calibration.after is found.sets is None
    both = pd.concat([rows, rows.assign(seed=1)])
    found = judged(both, dev)
    assert found.calibration.without == "fold 1 seed 1, fold 2 seed 1 have no rows of the side dev"


def test_a_corpus_without_votes_and_speakers():
    clips = clips_of()[["clip", "label"]].assign(speaker="")
    rows = rows_of(clips, "test")
    found = judged(rows, rows.iloc[:0], clips, known=False)
    assert [getattr(found, part) for part in ("groups", "tracks", "soft", "people")] == [None] * 4
    assert found.calibration.before.nll.low is None
    assert human_reference(rows, clips, EMOTIONS, resampling=Resampling(known=False)) is None


def test_levels_of_a_corpus_that_has_its_own_are_judged_alone():
    clips = clips_of()
    clips["level"] = clips["level"].map({"LO": "soft", "MD": "plain", "HI": "loud", "XX": ""})
    found = judged(rows_of(clips, "test"), rows_of(clips, "dev"), clips).tracks
    names = [entry.name for entry in found if entry.name.startswith("level")]
    assert names == ["level-loud", "level-plain", "level-soft"]


def test_other_sentences_are_judged_where_they_are_known():
    clips = clips_of()
    found = judged(rows_of(clips, "test"), rows_of(clips, "dev"), clips).sentences
    assert found.sentences == 12
    assert found.low < found.value < found.high
    assert judged(rows_of(clips, "test"), rows_of(clips, "dev"), clips.drop(columns="sentence")).sentences is None
    assert judged(rows_of(clips, "test"), rows_of(clips, "dev"), clips, known=False).sentences is None
