"""Names of labels and speakers: equivalent spellings, and labels that look like names of people."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from serlab.core import UserError

_CLOSE = 0.8
_PEOPLE = re.compile(
    r"(actors?|actress|speakers?|spk|spkr|subjects?|subj|sub|participants?|part|persons?|people|voices?|talkers?|users?|"
    r"pat|patients?|clients?|child|male|female|man|woman|prof|session|sess?|id|m|f|s|p|sp|u)[\s_.-]*0*\d+[a-z]?",
    re.IGNORECASE,
)
_BETWEEN_WORDS = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])")
_ZEROS = re.compile(r"(?<!\d)(?<!\d\.)0+(?=\d)")
_NUMBER = re.compile(r"\d+")
_FROM_SO_MANY_DIGITS_A_PERSON = 3
_MOST_NUMBERED_EMOTIONS = 9
_INITIALS = re.compile(r"[A-Z]{2,3}")
# First letters of words for emotions in the languages of well-known corpora, without accents.
_EMOTIONS = tuple(
    """
    aer amu ang anx arg arous bor calm conf cont cour curious dep des dis ek exc fea fro fru fur gio grie gust hap hate
    high hot ira iro joi joy lach lang love low mied neg neu norm oth pain pan pau peu pos prid rab rage rel ruh sad
    sarc scar shame shoc sor srp str sur ten tired trau tri ueber unk wor wut xxx zorn
    """.split()  # noqa: SIM905
)
_GIVEN_NAMES = frozenset(
    """
    adam alex alice amy ana andrea andrew angela ann anna anne anthony ben bob brian carl carlos carol charles chris
    christina claire daniel david elena emily emma eric eva fatima frank george hannah helen henry ivan jack jacob jake
    james jane jean jenny jessica jim joan joe john jose joseph juan julia karen kate kevin kim laura lee lena lisa liz
    louis lucy luis luke marco maria mark martin mary matt max mia michael mike mohammed muhammad nancy natalie nick
    nina noah oliver olivia pablo patrick paul pedro peter philip rachel raj richard robert rosa ryan sam samuel sandra
    sara sarah scott sofia sophia sophie stefan steve susan thomas tim tom victor wei william yuki zoe
    """.split()  # noqa: SIM905
)


def plain(name: str) -> str:
    r"""Normalise a name: composed Unicode, single spaces, no invisible characters, no ``.0`` after a number.

    >>> plain(" very\u00a0 sad "), plain("1.0")
    ('very sad', '1')
    """
    visible = (letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    shown = " ".join("".join(visible).split())
    return shown.removesuffix(".0") if re.fullmatch(r"\d+\.0", shown) else shown


def without_case(label: str) -> str:
    """A label without case and blanks.

    >>> without_case(" Very sad")
    'verysad'
    """
    return "".join(label.casefold().split())


def misspelt(label: str, other: str) -> bool:
    """Whether two labels are so alike that one is probably a misspelling of the other, or differs only in case.

    >>> misspelt("Angry", "angry"), misspelt("fearful", "fear"), misspelt("sad", "calm")
    (True, False, False)
    """
    return difflib.SequenceMatcher(None, without_case(label), without_case(other)).ratio() >= _CLOSE


def joined(names: Sequence[str]) -> tuple[list[str], list[str]]:
    r"""Give names that look the same one spelling, the most frequent one.

    Args:
        names: one per clip.

    Returns:
        The names, and a phrase for each name that replaces others.

    >>> joined(["sad", "sad", "sad\u200a"])
    (['sad', 'sad', 'sad'], ["'sad' replaces 'sad\\u200a' (1 clip)"])
    """
    counts = Counter(names)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        alike[plain(name)].append(name)
    spelling = {other: first for first, *others in alike.values() for other in others}
    notes = [
        f"{first!r} replaces {', '.join(f'{other!a} ({_clips(counts[other])})' for other in others)}"
        for first, *others in alike.values()
        if others
    ]
    return [spelling.get(name, name) for name in names], notes


def nearly_same(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in capitals, marks between words or leading zeros; each sorted.

    >>> nearly_same(["very sad", "Very_sad", "01", "1", "-1"])
    [['01', '1'], ['Very_sad', 'very sad']]
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for name in names:
        joined_up = _BETWEEN_WORDS.sub("", plain(name).casefold())
        alike[_ZEROS.sub("", joined_up)].add(name)
    return [sorted(group) for _, group in sorted(alike.items()) if len(group) > 1]


def difference(group: Sequence[str]) -> str:
    """Describe how the names of a group of :func:`nearly_same` differ.

    >>> difference(["Sad", "sad"]), difference(["01", "1"])
    ('capitals', 'capitals, marks between words or leading zeros')
    """
    alike = len({plain(name).casefold() for name in group}) == 1
    return "capitals" if alike else "capitals, marks between words or leading zeros"


def check_labels_differ(labels: Sequence[str], source: object) -> None:
    """Refuse labels that are nearly the same.

    Raises:
        UserError: some are.
    """
    counts = Counter(labels)
    for group in nearly_same(counts):
        listed = " and ".join(f"{name!r} ({_clips(counts[name])})" for name in group)
        raise UserError(f"{source} has labels that differ only in {difference(group)}: {listed}; use one spelling.")


def named_like_people(labels: Sequence[str]) -> bool:
    """Whether most labels look like names of speakers: ``Actor_01``, ``1001``, ``spk3``, ``DC``, ``Anna``."""
    emotions = sum(is_emotion(label) and not _is_given_name(label) for label in labels)
    if emotions > len(labels) / 3:
        return False
    numbers = [label for label in labels if _NUMBER.fullmatch(label)]
    if len(numbers) == len(labels):
        longest = max(len(str(int(number))) for number in numbers)
        return longest >= _FROM_SO_MANY_DIGITS_A_PERSON or len(labels) > _MOST_NUMBERED_EMOTIONS
    if all(_INITIALS.fullmatch(label) for label in labels):
        return not emotions
    return sum(bool(_PEOPLE.fullmatch(label)) or _is_given_name(label) for label in labels) > len(labels) / 2


def _is_given_name(label: str) -> bool:
    return re.split(r"[\s_.-]", label.lower())[0] in _GIVEN_NAMES


def is_emotion(label: str) -> bool:
    """Whether a label looks like a word for an emotion, or like its abbreviation."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", label.lower()) if not unicodedata.combining(c))
    words = [word for word in re.split(r"[^a-z]+", bare) if word]
    # A short code, such as HA, may also abbreviate an emotion.
    return any(
        word.startswith(_EMOTIONS) or (1 < len(word) <= 3 and any(each.startswith(word) for each in _EMOTIONS))
        for word in words
    )


def _clips(count: int) -> str:
    return f"{count:,} clip{'s' * (count != 1)}"
