from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import yaml

from serlab.core import UserError
from serlab.corpora import descriptions, load_corpus
from serlab.corpora.emotions import LabelMap, key, mapped, only, read_map, table


@pytest.fixture(scope="module")
def content():
    return yaml.safe_load((resources.files("serlab.corpora") / "emotions.yaml").read_text(encoding="utf-8"))


def test_every_name_belongs_to_one_emotion(content) -> None:
    homes: dict[str, set[str]] = {key(name): {"none"} for name in content["none"]}
    for emotion, languages in content["emotions"].items():
        for names in languages.values():
            for name in names:
                homes.setdefault(key(name), set()).add(emotion)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_every_emotion_is_its_own_name(content) -> None:
    assert {emotion: table().names.get(emotion) for emotion in content["emotions"]} == {
        emotion: emotion for emotion in content["emotions"]
    }


def test_every_judgement_is_about_a_name_and_has_a_reason(content) -> None:
    for name, reason in content["judgements"].items():
        assert key(name) in table().names
        assert len(reason) > 20


@pytest.mark.parametrize(
    ("label", "emotion"),
    [
        ("ANG", "angry"),
        ("wut", "angry"),
        ("Ärger", "angry"),
        ("rab", "angry"),
        ("gio", "happy"),
        ("sor", "surprise"),
        ("Pleasant_Surprise", "surprise"),
        ("ps", "surprise"),
        ("dégoût", "disgust"),
        ("Kızgın", "angry"),
        ("złość", "angry"),
        ("生气", "angry"),
        ("oth", None),
        ("calm", "calm"),
        ("exc", "excited"),
    ],
)
def test_names_codes_and_languages(label: str, emotion: str | None) -> None:
    assert LabelMap().emotion(label, "any") == emotion


def test_conventions_merge_only_when_chosen() -> None:
    assert read_map("iemocap-4").emotion("exc", "iemocap") == "happy"
    both = read_map(["iemocap-4", "calm-as-neutral"])
    assert (both.emotion("calm", "x"), both.emotion("excitement", "x")) == ("neutral", "happy")


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'hapy' of mine is not a known emotion; did you mean 'happy'\?"):
        LabelMap().emotion("hapy", "mine")
    with pytest.raises(UserError, match="single letters differently"):
        LabelMap().emotion("A", "mine")


@pytest.fixture
def own_map(tmp_path: Path):
    def write(text: str) -> LabelMap:
        path = tmp_path / "map.yaml"
        path.write_text(text, encoding="utf-8")
        return read_map(path)

    return write


def test_the_users_map_wins_and_can_be_for_one_corpus(own_map) -> None:
    found = own_map("calm: neutral\nLABEL_3: sad\nother: angry\nmine: {sad: null, exc: joy}\n")
    assert found.emotion("calm", "any") == "neutral"
    assert found.emotion("LABEL_3", "any") == "sad"
    assert found.emotion("other", "any") == "angry"
    assert (found.emotion("sad", "mine"), found.emotion("sad", "yours")) == (None, "sad")
    assert (found.emotion("excited", "yours"), found.emotion("exc", "mine")) == ("excited", "happy")
    assert "map.yaml" in found.shown


def test_a_section_for_no_corpus_at_hand_is_reported(own_map, capsys) -> None:
    found = read_map(own_map("my_corpus: {calm: sad}"))
    found.say_idle(["my-corpus", "other"])
    said = capsys.readouterr().err
    assert "has a section 'my_corpus', which is none of the corpora and models here; did you mean 'my-corpus'?" in said


def test_new_emotions_must_be_listed(own_map) -> None:
    assert own_map("new: [positive]\nhappy: positive\n").emotion("joy", "x") == "positive"
    with pytest.raises(UserError, match=r"maps 'happy' to 'positve'"):
        own_map("happy: positve\n")


@pytest.mark.parametrize("text", ["- a\n", "new: 3\n", "just words\n"])
def test_what_is_no_map_is_refused(own_map, text: str) -> None:
    with pytest.raises(UserError, match="map"):
        own_map(text)


def test_a_missing_file_or_convention_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothere"):
        read_map(tmp_path / "nothere.yaml")
    with pytest.raises(UserError, match="iemocap-4"):
        read_map("iemocap")


def test_a_corpus_is_mapped_and_what_is_dropped_is_counted(tiny_corpus: Path) -> None:
    corpus = load_corpus(str(tiny_corpus))
    found = mapped(corpus, read_map({"calm": None}))
    assert found.dropped == {"calm": 18}
    assert found.corpus.labels == ("happy", "sad")
    assert len(found.corpus.clips) == 36
    assert found.corpus.fingerprint != corpus.fingerprint
    less = only(found, ["sad"])
    assert less.dropped == {"calm": 18, "happy": 18}
    assert len(less.corpus.clips) + sum(less.dropped.values()) == len(corpus.clips)


def test_the_same_labels_keep_the_fingerprint(tiny_corpus: Path) -> None:
    corpus = load_corpus(str(tiny_corpus))
    assert mapped(corpus, LabelMap()).corpus.fingerprint == corpus.fingerprint


@pytest.mark.parametrize("name", sorted(descriptions()))
def test_every_label_of_a_known_corpus_has_an_emotion_or_a_reason(name: str) -> None:
    labels = descriptions()[name].labels
    found = {label: LabelMap().emotion(label, name) for label in labels}
    with_one = [emotion for emotion in found.values() if emotion is not None]
    # No two labels of a corpus are merged unasked.
    assert len({*with_one}) == len(with_one)
    assert [label for label in labels if found[label] is None and not LabelMap().why_dropped(label, name)] == []
    assert bool(with_one) == (name != "baved")


def test_the_codes_of_known_corpora_that_are_words_mean_the_same_in_the_table() -> None:
    """Somebody's table of a known corpus often has the codes of its file names as labels."""
    for name, known in descriptions().items():
        for codes in (known.files.codes, *(table_.codes for table_ in known.tables)):
            for code, label in codes.get("label", {}).items():
                if len(code) >= 3 and code.isalpha() and label:
                    assert LabelMap().emotion(code, name) == LabelMap().emotion(label, name), (name, code)


def test_a_label_without_an_emotion_has_a_reason_and_no_second_meaning(content) -> None:
    assert all(len(reason) > 5 and not reason.endswith(".") for reason in content["none"].values())
    assert LabelMap().why_dropped("High", "baved") == "a level of expression, not an emotion"
    assert LabelMap().why_dropped("sad", "any") == ""
    # What the user's map drops needs no reason of the table.
    assert read_map({"xxx": None}).why_dropped("xxx", "any") == ""


@pytest.mark.parametrize(
    ("labels", "emotions"),
    [
        # Folders and tables of copies of TESS, of CaFE, VERBO, AESDD, RESD and EmoV-DB.
        (["pleasant_surprised", "Pleasant_surprise", "Fear"], ["surprise", "surprise", "fear"]),
        (["Colère", "Dégoût", "Joie", "Peur", "Tristesse"], ["angry", "disgust", "happy", "fear", "sad"]),
        (["raiva", "desgosto", "alegria", "medo", "surpresa"], ["angry", "disgust", "happy", "fear", "surprise"]),
        (["enthusiasm", "sleepiness", "Amused"], ["enthusiastic", "sleepy", "amused"]),
    ],
)
def test_labels_of_other_corpora(labels: list[str], emotions: list[str]) -> None:
    assert [LabelMap().emotion(label, "any") for label in labels] == emotions
