"""What a reader must know before believing a figure: coded notices, most severe first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from serlab.evaluation.claims import Scope, scope_text, sets_text, ties_text
from serlab.evaluation.population import Caution
from serlab.evaluation.resampling import FEWEST_SPEAKERS
from serlab.report.recipe import RecipeReport
from serlab.report.verdict import chance_text
from serlab.report.words import counted, listed, numbered, people, percent, side_title

if TYPE_CHECKING:
    from serlab.report.summary import Exclusion

SEVERITIES = ("danger", "warning", "note")
Notice = dict[str, str]
_UNOFFICIAL = ("not the official", "differ from the official")


def notices(
    corpus: Mapping[str, Any],
    protocol: Mapping[str, Any],
    recipes: Sequence[RecipeReport],
    exclusions: Sequence[Exclusion],
    audit: Mapping[str, Any] | None = None,
) -> list[Notice]:
    """Everything that limits what the figures mean.

    Args:
        corpus: the runs' corpus.
        protocol: the runs' protocol.
        recipes: the described recipes.
        exclusions: excluded clips.
        audit: what the leak audit found.

    Returns:
        Notices with ``code``, ``severity`` (``danger``, ``warning`` or ``note``) and ``text``.
    """
    found = [
        *_about_audit(audit),
        *_about_data(corpus, protocol),
        *_about_coverage(corpus, protocol, recipes),
        *_about_recipes(recipes),
        *_about_exclusions(exclusions),
    ]
    return sorted(found, key=lambda notice: SEVERITIES.index(notice["severity"]))


def _notice(code: str, severity: str, text: str) -> Notice:
    return {"code": code, "severity": severity, "text": text}


def _about_audit(audit: Mapping[str, Any] | None) -> Iterator[Notice]:
    if audit is None:
        return
    grave = {finding["severity"] for finding in audit["findings"]}
    severity = "danger" if "error" in grave else "warning" if "warning" in grave else "note"
    yield _notice("audit", severity, str(audit["verdict"]))


def _about_data(corpus: Mapping[str, Any], protocol: Mapping[str, Any]) -> Iterator[Notice]:
    if protocol["speaker_disjoint"] is False:
        yield _notice(
            "speaker-leak",
            "danger",
            f"Protocol {protocol['name']} leaks speakers: the same {people(corpus['name'])} are in training and in "
            "test. These figures say nothing about people whom the models have not heard in training.",
        )
    if protocol["speaker_disjoint"] is None and corpus["speakers_known"]:
        yield _notice(
            "training-unknown",
            "warning",
            "It is not known what these models were trained on. If it was these "
            f"{people(corpus['name'])} or clips, the figures say nothing about other people.",
        )
    if not corpus["speakers_known"]:
        yield _notice(
            "speakers-unknown",
            "warning",
            "The speakers of the corpus are unknown, so the test speakers may be in training too, and no interval can "
            "be given.",
        )
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
    corpus: Mapping[str, Any], protocol: Mapping[str, Any], recipes: Sequence[RecipeReport]
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
    if len({(tuple(r.folds), tuple(r.seeds)) for r in recipes}) > 1:
        yield _notice(
            "uneven",
            "warning",
            "The recipes cover different folds or seeds: their own figures are for different clips or models; "
            "differences use only the shared ones.",
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
    scopes = {recipe.scope for recipe in recipes}
    for scope in get_args(Scope):
        if scope in scopes and scope != "recipes":
            of = [recipe.title for recipe in recipes if recipe.scope == scope]
            yield _notice(
                "uneven-seeds" if scope == "other clips" else "few-seeds",
                "warning" if scope == "other clips" else "note",
                (f"{listed(of)}: " if len(of) < len(recipes) else "") + scope_text(scope, people(corpus["name"])),
            )
    of_caution: dict[Caution, list[str]] = {}
    for recipe in recipes:
        for caution in recipe.cautions:
            of_caution.setdefault(caution, []).append(recipe.title)
    for caution, of in of_caution.items():
        text = caution.text if len(of) == len(recipes) else f"{listed(of)}: {caution.text}"
        yield _notice(caution.code, "warning", text)
    for recipe in recipes:
        if recipe.uneven_clips:
            yield _notice(
                "uneven-clips",
                "note",
                f"{counted(recipe.uneven_clips, 'clip')} of {recipe.title} left out, because not every seed judged "
                f"{'it' if recipe.uneven_clips == 1 else 'them'}.",
            )


def _about_recipes(recipes: Sequence[RecipeReport]) -> Iterator[Notice]:
    for recipe in recipes:
        yield from _about_learning(recipe)
        if recipe.absent:
            yield _notice(
                "absent-label",
                "warning",
                f"{recipe.title} is evaluated on no clip of {listed(recipe.absent)}: UAR and macro-F1 are means "
                "over the other labels.",
            )
        if recipe.ties:
            yield _notice("ties", "warning", f"{recipe.title}: {ties_text(recipe.ties)}.")
        for entry in (recipe.confidence.sets or ())[:1]:
            if text := sets_text(entry):
                asked = f"Prediction sets of {recipe.title} for {percent(entry.level, 0)} %"
                yield _notice("few-dev-speakers", "note", f"{asked}: {text}.")
        calibration = recipe.confidence.calibration
        if calibration is None:
            yield _notice(
                "no-probabilities",
                "note",
                f"{recipe.title} gives no probabilities: no calibration, no abstention and no prediction sets.",
            )
        elif without := calibration.without:
            yield _notice(
                "no-calibration", "note", f"No temperature and no prediction sets for {recipe.title}: {without}."
            )
        for what, name, each in (
            ("precision", "precisions", recipe.precision),
            ("versions", "versions of serlab", recipe.versions),
        ):
            if len(each) > 1:
                yield _notice(f"mixed-{what}", "warning", f"{recipe.title} mixes {name}: {listed(each)}.")


def _about_learning(recipe: RecipeReport) -> Iterator[Notice]:
    """Whether the test interval is above chance, and what the training score shows; neither hides a recipe."""
    uar, train = recipe.scores["uar"], percent(recipe.train_uar)
    if recipe.not_learned:
        yield _notice(
            "did-not-learn",
            "warning",
            f"{recipe.title} is not shown to have learned: {listed(recipe.not_learned)}.",
        )
    if recipe.fit_caution == "underfitted":
        yield _notice(
            "underfitted",
            "warning",
            f"{recipe.title} may be underfitted: its UAR on its training clips is {train} %, less than halfway "
            f"from chance to 100 % ({chance_text(recipe)}). Longer training, less regularisation or a larger model may "
            "raise its score.",
        )
    if recipe.fit_caution == "overfitted":
        yield _notice(
            "overfitted",
            "warning",
            f"{recipe.title} may be overfitted: its UAR is {train} % on its training clips and "
            f"{percent(uar.value)} % on the {side_title(recipe.side)} clips, less than half as far above chance "
            f"({chance_text(recipe)}). More training speakers, augmentation or regularisation may raise its score.",
        )


def _about_exclusions(exclusions: Sequence[Exclusion]) -> Iterator[Notice]:
    clips = {exclusion.clip for exclusion in exclusions}
    if clips:
        yield _notice("exclusions", "note", f"{counted(len(clips), 'clip')} left out; see the list of exclusions.")


def _whose(corpus: Mapping[str, Any]) -> str:
    return f"the {people(corpus['name'])}" if corpus["speakers_known"] else "the clips"
