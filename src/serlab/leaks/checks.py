"""Checks that only need tables: speakers, sentences and recordings across subsets, sizes, known faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from serlab.corpora.base import Corpus
from serlab.corpora.measures import ClipMeasures
from serlab.evaluation.resampling import FEWEST_SPEAKERS
from serlab.leaks.findings import Finding, Severity
from serlab.protocols import Fold, Split

FEWEST_CLIPS = 10
"""Minimum number of test clips per label."""

_CLIPPED = 0.001
_SUBSETS = ("train", "dev", "test")
_NAMES = {"train": "training", "dev": "development", "test": "test"}


def subsets_of(fold: Fold) -> dict[str, tuple[str, ...]]:
    """The clips of each subset, by its name."""
    return {"train": fold.train, "dev": fold.dev, "test": fold.test}


def check_apart(corpus: Corpus, split: Split, column: str) -> Iterator[Finding]:
    """SL001 and SL005: values of ``column`` (``speaker`` or ``sentence``) in two subsets of a fold."""
    severity: Severity = "error" if column == "speaker" else "note"
    code, noun = ("SL001", "speaker") if column == "speaker" else ("SL005", "sentence")
    if column not in corpus.clips or (column == "speaker" and not corpus.speakers_known):
        yield Finding(code, "not applicable", f"The corpus does not name the {noun} of each clip.")
        return
    value_of = dict(zip(corpus.clips["clip"], corpus.clips[column].fillna("").astype(str), strict=True))
    if not any(value_of.values()):
        yield Finding(code, "not applicable", f"The corpus does not name the {noun} of each clip.")
        return
    twice: set[str] = set()
    folds: set[int] = set()
    clips: set[str] = set()
    between: set[str] = set()
    for fold in split.folds:
        values = {subset: {value_of[clip] for clip in members} - {""} for subset, members in subsets_of(fold).items()}
        for one, other in combinations(_SUBSETS, 2):
            shared = values[one] & values[other]
            if shared:
                twice |= shared
                folds.add(fold.number)
                between.add(f"{_NAMES[one]} and {_NAMES[other]}")
                members = (*subsets_of(fold)[one], *subsets_of(fold)[other])
                clips |= {clip for clip in members if value_of[clip] in shared}
    if twice:
        there = {clip for fold in split.folds for subset in subsets_of(fold).values() for clip in subset}
        count = len({value_of[clip] for clip in there} - {""})
        yield Finding(
            code,
            severity,
            f"{len(twice)} of {count} {noun}s are in two subsets of {split.name} ({'; '.join(sorted(between))}; "
            f"{_folds(folds, split)}), first {min(twice)}.",
            clips=tuple(sorted(clips)),
        )


def check_recordings(corpus: Corpus, split: Split | None, pairs: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """SL002 and SL003: pairs of clips that are the same recording, in two subsets or with two labels."""
    label_of = dict(zip(corpus.clips["clip"], corpus.clips["label"], strict=True))
    if split is not None:
        hash_of = (
            dict(zip(corpus.clips["clip"], corpus.clips["sha256"], strict=True)) if "sha256" in corpus.clips else {}
        )
        across = sorted({pair for fold in split.folds for pair in _across(fold, pairs, hash_of)})
        if across:
            yield _about_pairs("SL002", "error", across, f"are in two subsets of {split.name}")
    contradicting = [pair for pair in pairs if label_of[pair[0]] != label_of[pair[1]]]
    if contradicting:
        yield _about_pairs("SL003", "warning", contradicting, "have two labels")


def check_sound(clips: Sequence[str], measures: Sequence[ClipMeasures]) -> Iterator[Finding]:
    """SL004: clips that are silent, broken or clipped."""
    by_fault: dict[str, list[str]] = defaultdict(list)
    for clip, each in zip(clips, measures, strict=True):
        fault = each.fault or ("clipped" if each.clipped >= _CLIPPED else "")
        if fault:
            by_fault[fault].append(clip)
    for fault, members in sorted(by_fault.items()):
        first = f"{members[0]}" if len(members) == 1 else f"{len(members)} clips, the first is {members[0]}"
        yield Finding("SL004", "warning", f"{fault[0].upper()}{fault[1:]}: {first}.", clips=tuple(members))


def check_sizes(corpus: Corpus, split: Split, usable: set[str]) -> Iterator[Finding]:
    """SL007: labels and speakers with few clips, and few speakers, in the test subsets of all folds together."""
    tested = usable & {clip for fold in split.folds for clip in fold.test}
    if not tested:
        return
    rows = corpus.clips[corpus.clips["clip"].isin(tested)]
    counts = rows["label"].value_counts().reindex(corpus.labels, fill_value=0)
    small = counts[counts < FEWEST_CLIPS]
    if len(small):
        listed = ", ".join(f"{label} {count}" for label, count in small.items())
        text = f"Labels with fewer than {FEWEST_CLIPS} test clips: {listed}."
        yield Finding("SL007", "warning", text, clips=tuple(rows.loc[rows["label"].isin(small.index), "clip"]))
    speakers = rows["speaker"].nunique()
    if corpus.speakers_known and speakers < FEWEST_SPEAKERS:
        text = f"The test subsets have {speakers} speakers; an interval needs {FEWEST_SPEAKERS}."
        yield Finding("SL007", "warning", text, figures={"speakers": speakers})
    if corpus.speakers_known:
        each = rows["speaker"].value_counts()
        few = sorted(each[each < len(corpus.labels)].index)
        if few:
            text = f"{len(few)} test speakers have fewer clips than there are labels; the first is {few[0]}."
            yield Finding("SL007", "warning", text, clips=tuple(rows.loc[rows["speaker"].isin(few), "clip"]))


def check_speakers(corpus: Corpus) -> Iterator[Finding]:
    """SL008: a corpus without speaker names."""
    if not corpus.speakers_known:
        yield Finding("SL008", "warning", "The corpus does not name the speaker of each clip.")


def check_subsets(corpus: Corpus, split: Split, usable: set[str]) -> Iterator[Finding]:
    """SL009: empty subsets, labels without training clips, and dev clips that are also test clips."""
    label_of = dict(zip(corpus.clips["clip"], corpus.clips["label"], strict=True))
    for fold in split.folds:
        where = f"of {split.name}" if len(split.folds) == 1 else f"of fold {fold.number} of {split.name}"
        for subset, clips in subsets_of(fold).items():
            if usable.isdisjoint(clips):
                severity: Severity = "note" if subset == "dev" else "error"
                what = f"has no usable clip (all {len(clips)} are broken)" if clips else "is empty"
                yield Finding("SL009", severity, f"The {_NAMES[subset]} subset {where} {what}.", clips=clips)
        learned = {label_of[clip] for clip in usable & set(fold.train)}
        untrained = [label for label in corpus.labels if label not in learned]
        if learned and untrained:
            text = f"The training subset {where} has no clip of {', '.join(untrained)}, so no model can learn it."
            yield Finding("SL009", "error", text)
        both = sorted(set(fold.dev) & set(fold.test))
        if both:
            text = f"{len(both)} development clips are also test clips; the first is {both[0]}."
            yield Finding("SL009", "error", text, clips=tuple(both))


def check_faults(faults: Mapping[str, str], used: set[str]) -> Iterator[Finding]:
    """SL011: clips with known faults."""
    known = {clip: fault for clip, fault in sorted(faults.items()) if clip in used}
    if known:
        listed = "; ".join(f"{clip}: {fault}" for clip, fault in known.items())
        yield Finding("SL011", "note", f"{listed}.", clips=tuple(known))


def _about_pairs(code: str, severity: Severity, pairs: Sequence[tuple[str, str]], what: str) -> Finding:
    count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    same = "the clip itself" if pairs[0][0] == pairs[0][1] else pairs[0][1]
    return Finding(
        code,
        severity,
        f"{count} of clips with the same recording {what}; the first is {pairs[0][0]} and {same}.",
        clips=tuple(sorted({clip for pair in pairs for clip in pair})),
        pairs=tuple(pairs),
    )


def _across(fold: Fold, pairs: Sequence[tuple[str, str]], hash_of: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs that a fold separates, and clips in two of its subsets; clips outside the fold do not count.

    Of many files with the same bytes, ``pairs`` has neighbours alone, and one of two may be outside the fold; so
    one pair per two subsets comes from the hashes.
    """
    subsets: dict[str, set[str]] = defaultdict(set)
    for subset, members in subsets_of(fold).items():
        for clip in members:
            subsets[clip].add(subset)
    for one, other in pairs:
        if one in subsets and other in subsets and len(subsets[one] | subsets[other]) > 1:
            yield one, other
    yield from ((clip, clip) for clip, names in subsets.items() if len(names) > 1)
    alike = {clip for pair in pairs for clip in pair}
    # The first clip of each content, by subset.
    firsts = [
        {hash_of[clip]: clip for clip in sorted(members, reverse=True) if clip in alike and hash_of.get(clip)}
        for members in subsets_of(fold).values()
    ]
    for here, there in combinations(firsts, 2):
        for content in here.keys() & there.keys():
            one, other = sorted((here[content], there[content]))
            yield one, other


def _folds(numbers: set[int], split: Split) -> str:
    if len(split.folds) == 1:
        return "its only fold"
    return "all folds" if len(numbers) == len(split.folds) else f"folds {', '.join(map(str, sorted(numbers)))}"
