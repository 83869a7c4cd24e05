"""What a reader must know before believing a figure: coded notices, most severe first."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from serlab.evaluation.claims import Scope, scope_text, sets_text, ties_text
from serlab.evaluation.resampling import FEWEST_SPEAKERS
from serlab.report.pairs import PairReport
from serlab.report.recipe import Exclusion, RecipeReport
from serlab.report.verdict import chance_text
from serlab.report.words import counted, listed, numbered, people, percent, side_title

SEVERITIES = ("danger", "warning", "note")
GRAVITY = {"danger": "Warning.", "warning": "Caution.", "note": "Note."}
"""How a notice begins, by its severity."""
Notice = dict[str, str]
_Reason = TypeVar("_Reason", bound=Hashable)
_AT_HEAD = 3
_NOTES = ("far-speakers", "training-scatter")
_UNOFFICIAL = ("not the official", "differ from the official")


def notices(
    corpus: Mapping[str, Any],
    protocol: Mapping[str, Any],
    recipes: Sequence[RecipeReport],
    pairs: Sequence[PairReport],
    exclusions: Sequence[Exclusion],
    audit: Mapping[str, Any] | None = None,
    given: Sequence[str] = (),
) -> list[Notice]:
    """Everything that limits what the figures mean.

    Args:
        corpus: the runs' corpus.
        protocol: the runs' protocol.
        recipes: the described recipes.
        pairs: the paired differences between all recipes.
        exclusions: excluded clips.
        audit: what the leak audit found.
        given: what is not known about finished models, one sentence each.

    Returns:
        Notices with ``code``, ``severity`` (``danger``, ``warning`` or ``note``) and ``text``, gravest first; in each
        severity those that limit the answer before those that limit a recipe's own figures.
    """
    found = [
        *_about_audit(audit),
        *_about_data(corpus, protocol, recipes),
        *(_notice("training-unknown", "warning", text) for text in given),
        *_about_coverage(corpus, protocol, recipes, pairs),
        *_about_learning(recipes),
        *_about_recipes(recipes),
        *_about_exclusions(exclusions),
    ]
    return sorted(found, key=lambda notice: SEVERITIES.index(notice["severity"]))


def at_head(found: Sequence[Notice]) -> int:
    """How many notices stand above the figures: all dangers, and warnings up to three notices in all.

    >>> at_head([{"severity": "danger"}, *[{"severity": "warning"}] * 4, {"severity": "note"}])
    3
    """
    severities = [notice["severity"] for notice in found]
    return max(severities.count("danger"), min(_AT_HEAD, len(found) - severities.count("note")))


def _notice(code: str, severity: str, text: str) -> Notice:
    return {"code": code, "severity": severity, "text": text}


def kinds(found: Sequence[Notice]) -> str:
    """How many cautions and notes are folded.

    >>> kinds([{"severity": "warning"}, {"severity": "note"}, {"severity": "note"}])
    '1 more caution and 2 notes'
    """
    notes = sum(notice["severity"] == "note" for notice in found)
    cautions = len(found) - notes
    return listed([counted(cautions, "more caution")] * bool(cautions) + [counted(notes, "note")] * bool(notes))


def _about_audit(audit: Mapping[str, Any] | None) -> Iterator[Notice]:
    if audit is None:
        return
    grave = {finding["severity"] for finding in audit["findings"]}
    severity = "danger" if "error" in grave else "warning" if "warning" in grave else "note"
    yield _notice("audit", severity, str(audit["verdict"]))


def _about_data(
    corpus: Mapping[str, Any], protocol: Mapping[str, Any], recipes: Sequence[RecipeReport]
) -> Iterator[Notice]:
    if protocol["speaker_disjoint"] is False:
        yield _notice(
            "speaker-leak",
            "danger",
            f"Protocol {protocol['name']} leaks speakers: the same {people(corpus['name'])} are in training and in "
            "test. These figures say nothing about people whom the models have not heard in training.",
        )
    unknown = [recipe.title for recipe in recipes if recipe.speakers is None]
    if protocol["speaker_disjoint"] is None and not unknown:
        yield _notice(
            "training-unknown",
            "warning",
            "What these models were trained on is not known. If it included these "
            f"{people(corpus['name'])} or clips, the figures say nothing about other people.",
        )
    if unknown:
        text = (
            "The speakers are unknown, so the test speakers may have been in training too, and there are no intervals."
            if len(unknown) == len(recipes)
            else f"Some speakers of {listed(unknown)} are unknown, so its own figures have no intervals."
        )
        yield _notice("speakers-unknown", "warning", text)
    if corpus.get("smoke"):
        yield _notice(
            "smoke",
            "danger",
            f"A SMOKE RUN: it shows that everything runs; its figures mean nothing ({corpus['part']}).",
        )
    elif corpus.get("part"):
        yield _notice("part", "warning", f"Only a part of the corpus: {corpus['part']}.")
    if corpus["synthetic"]:
        yield _notice(
            "synthetic", "warning", "The clips are synthetic speech: the figures are not about recordings of people."
        )
    if any(sign in corpus["copy"] for sign in _UNOFFICIAL):
        yield _notice("copy", "warning", f"Data: {corpus['copy']}. Other copies give other figures.")


def _about_coverage(
    corpus: Mapping[str, Any],
    protocol: Mapping[str, Any],
    recipes: Sequence[RecipeReport],
    pairs: Sequence[PairReport],
) -> Iterator[Notice]:
    on_dev = [recipe.title for recipe in recipes if recipe.side == "dev"]
    if on_dev:
        yield _notice(
            "dev-only",
            "warning",
            f"Development figures, not test figures: {listed(on_dev)}. The models were developed on these clips.",
        )
    folds = {fold for recipe in recipes for fold in recipe.folds}
    missing = [fold for fold in protocol.get("fold_names", range(1, protocol["folds"] + 1)) if fold not in folds]
    if missing:
        yield _notice(
            "missing-folds",
            "warning",
            f"Only {numbered('fold', folds)} of {protocol['folds']} {'are' if len(folds) > 1 else 'is'} here: "
            f"{_whose(corpus)} of {numbered('fold', missing)} are not judged.",
        )
    if any(pair.partial for pair in pairs):
        # Others' folds may be named in any way, or not at all.
        own = protocol["speaker_disjoint"] is not None
        runs = len({r.seeds for r in recipes}) > 1 or (own and len({r.folds for r in recipes}) > 1)
        on = ["clips"] * any(any(pair.only) for pair in pairs) + ["folds and seeds" if own else "seeds"] * runs
        yield _notice(
            "uneven",
            "warning",
            f"Not all models are judged on the same {listed(on)}, so do not compare their own figures; the differences "
            "use only what both have.",
        )
    if any(recipe.left_out for recipe in recipes):
        texts = [
            f"{r.title} (" + ", ".join(f"fold {c.fold} seed {c.seed}" for c in r.left_out) + ")"
            for r in recipes
            if r.left_out
        ]
        yield _notice(
            "left-out-runs",
            "warning",
            f"Runs outside the complete grid of folds and seeds are not part of the figures: {listed(texts)}.",
        )
    few = [r for r in recipes if r.speakers is not None and r.speakers < FEWEST_SPEAKERS]
    if few:
        yield _notice(
            "few-speakers",
            "warning",
            f"Fewer than {FEWEST_SPEAKERS} {people(corpus['name'])} are evaluated: too few for an interval.",
        )
    for scope in get_args(Scope):
        of = [recipe.title for recipe in recipes if recipe.scope == scope and recipe.scores["uar"].low is not None]
        if of and scope != "recipes":
            yield _notice(
                "uneven-seeds" if scope == "other clips" else "few-seeds",
                "warning" if scope == "other clips" else "note",
                (f"{listed(of)}: " if len(of) < len(recipes) else "") + scope_text(scope, people(corpus["name"])),
            )
    yield from _about_populations(recipes)
    gaps = [f"{counted(r.uneven_clips, 'clip')} of {r.title}" for r in recipes if r.uneven_clips]
    if gaps:
        yield _notice("uneven-clips", "note", f"Left out, because not every seed judged them: {listed(gaps)}.")


def _about_populations(recipes: Sequence[RecipeReport]) -> Iterator[Notice]:
    """What makes intervals less dependable: one notice for each rule, whatever the number of recipes."""
    for code in dict.fromkeys(caution.code for recipe in recipes for caution in recipe.cautions):
        of = [(caution, recipe.title) for recipe in recipes for caution in recipe.cautions if caution.code == code]
        texts = _grouped((caution.text, title) for caution, title in of)
        alike = len(texts) == 1 and len(of) == len(recipes)
        parts = [text if alike else f"{titles}: {text}" for text, titles in texts]
        meanings = dict.fromkeys(caution.meaning for caution, _ in of if caution.meaning)
        yield _notice(code, "note" if code in _NOTES else "warning", " ".join([*parts, *meanings]))


def _about_learning(recipes: Sequence[RecipeReport]) -> Iterator[Notice]:
    """Whether the test interval is above chance, and what the training score shows; neither hides a recipe."""
    if at_chance := [f"{recipe.title} ({listed(recipe.not_learned)})" for recipe in recipes if recipe.not_learned]:
        yield _notice(
            "did-not-learn",
            "warning",
            f"Not shown to have learned: {listed(at_chance)}.",
        )
    if low := [r for r in recipes if r.fit_caution == "underfitted"]:
        each = [f"{r.title} ({percent(r.train_uar)} % on its training clips, {chance_text(r)})" for r in low]
        yield _notice(
            "underfitted",
            "warning",
            f"Perhaps underfitted: {listed(each)}. Their UAR in training is less than halfway from chance to 100 %; "
            "longer training, less regularisation or a larger model may help.",
        )
    if high := [r for r in recipes if r.fit_caution == "overfitted"]:
        each = [
            f"{r.title} ({percent(r.train_uar)} % on its training clips, {percent(r.scores['uar'].value)} % on the "
            f"{side_title(r.side)} clips, {chance_text(r)})"
            for r in high
        ]
        yield _notice(
            "overfitted",
            "warning",
            f"Perhaps overfitted: {listed(each)}. The second figure is less than half as far above chance as the "
            "first; more training speakers, augmentation or regularisation may help.",
        )


def _about_recipes(recipes: Sequence[RecipeReport]) -> Iterator[Notice]:
    """What limits the figures of single recipes; one notice for all that share a reason."""
    for labels, titles in _grouped((listed(r.absent), r.title) for r in recipes):
        yield _notice(
            "absent-label",
            "warning",
            f"There are no clips of {labels} for {titles}: UAR and macro-F1 are means over the other labels.",
        )
    for labels, titles in _grouped((listed(r.partly_absent), r.title) for r in recipes):
        yield _notice(
            "absent-label",
            "warning",
            f"Under some seeds there are no clips of {labels} for {titles}: there, UAR and macro-F1 are means over the "
            "other labels.",
        )
    for what, name, each in (
        ("precision", "precisions", [(listed(r.precision) * (len(r.precision) > 1), r.title) for r in recipes]),
        ("versions", "versions of serlab", [(listed(r.versions) * (len(r.versions) > 1), r.title) for r in recipes]),
    ):
        for mixed, titles in _grouped(each):
            yield _notice(f"mixed-{what}", "warning", f"Several {name} ({mixed}) are mixed in {titles}.")
    if tied := [f"{r.title} ({ties_text(r.ties)})" for r in recipes if r.ties]:
        yield _notice("ties", "warning", f"Ties of scores: {listed(tied)}.")
    if used := [recipe.title for recipe in recipes if recipe.dev_used]:
        yield _notice(
            "dev-used",
            "note",
            f"Teachers of {listed(used)} chose their settings by the dev subsets, so dev scores are not independent.",
        )
    few = ((sets_text(entry), entry.level, r.title) for r in recipes for entry in (r.confidence.sets or ())[:1])
    for (text, level), titles in _grouped(((text, level), title) for text, level, title in few if text):
        yield _notice("few-dev-speakers", "note", f"Prediction sets of {titles} for {percent(level, 0)} %: {text}.")
    unsure = [recipe.title for recipe in recipes if recipe.confidence.calibration is None]
    if unsure:
        yield _notice(
            "no-probabilities",
            "note",
            f"No calibration, abstention or prediction sets for {listed(unsure)}, which give no probabilities."
            if len(unsure) > 1
            else f"No calibration, abstention or prediction sets for {unsure[0]}, which gives no probabilities.",
        )
    calibrated = ((recipe.confidence.calibration, recipe.title) for recipe in recipes)
    for reason, titles in _grouped((found.without, title) for found, title in calibrated if found):
        yield _notice("no-calibration", "note", f"No temperature and no prediction sets for {titles}: {reason}.")


def _grouped(reasons: Iterable[tuple[_Reason, str]]) -> list[tuple[_Reason, str]]:
    """Each reason that is not empty, with the titles that share it as a list in a sentence."""
    found: dict[_Reason, list[str]] = {}
    for reason, title in reasons:
        if reason:
            found.setdefault(reason, []).append(title)
    return [(reason, listed(titles)) for reason, titles in found.items()]


def _about_exclusions(exclusions: Sequence[Exclusion]) -> Iterator[Notice]:
    clips = {exclusion.clip for exclusion in exclusions}
    if clips:
        yield _notice("exclusions", "note", f"{counted(len(clips), 'clip')} left out; see the list of exclusions.")


def _whose(corpus: Mapping[str, Any]) -> str:
    return f"the {people(corpus['name'])}" if corpus["speakers_known"] else "the clips"
