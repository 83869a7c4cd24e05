"""The methods paragraph of a paper, from what the report says it did, with its references as BibTeX.

Citations are written ``[@key]``, as pandoc reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from serlab.evaluation.claims import scope_text
from serlab.evaluation.metrics import METRICS
from serlab.report import words
from serlab.report.latex import escape
from serlab.report.summary import Report

_CITATION = re.compile(r" ?\[@([\w-]+)\]")
_ENTRY = re.compile(r"^@\w+\{([\w-]+),.*?^\}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Methods:
    """What a paper says of how its results were made.

    Attributes:
        text: the paragraph, with citations as ``[@key]``.
        cited: keys of what it cites; titles and labels of users may look like citations too.
        bibtex: an entry for each of them.
        plain: the paragraph with authors and years in place of keys.
    """

    text: str
    cited: tuple[str, ...]
    bibtex: str
    plain: str


def methods_of(summary: Report) -> Methods:
    """Write the paragraph of a report."""
    text = " ".join(_sentences(summary))
    entries = _own_entries(summary) | _entries()
    cited = tuple(key for key in dict.fromkeys(_CITATION.findall(text)) if key in entries)
    plain = _CITATION.sub(lambda match: _short(match[1], entries[match[1]]) if match[1] in entries else match[0], text)
    return Methods(text, cited, "\n\n".join(entries[key] for key in cited) + "\n", plain)


def _sentences(summary: Report) -> Iterator[str]:
    yield from _what(summary)
    yield from _scores(summary)
    yield from _pairs(summary)
    yield from _trust(summary)
    yield f"Signature: {summary.signature}."


def _what(summary: Report) -> Iterator[str]:
    corpus, protocol, recipes = summary.corpus, summary.protocol, summary.recipes
    who, labels = words.people(corpus["name"]), corpus["labels"]
    cite = " [@corpus]" if _citable(corpus) else ""
    fingerprint = f", fingerprint {corpus['fingerprint'][:8]}" if corpus["fingerprint"] else ""
    of = f"{words.corpus_title(corpus['name'])}{cite} ({corpus['copy']}{fingerprint})"
    speakers = [recipe.speakers for recipe in recipes if recipe.speakers is not None]
    spoken = f" by {words.counted(max(speakers), who.removesuffix('s'), who)}" if speakers else ""
    clips, version = f"{max(r.clips for r in recipes):,} clips", f"serlab {words.listed(summary.serlab)} [@serlab]"
    # Without a corpus, clips and labels are the tables' own.
    known = bool(corpus["fingerprint"])
    track = f"{corpus['label_track']} " if known else ""
    named = f"{len(labels)} {track}labels ({', '.join(labels)})"
    if summary.foreign:
        titles = words.listed(recipe.title for recipe in recipes)
        whose = f"{clips}{f' of {of}' if known else ''}{spoken}"
        yield f"We evaluated the predictions of {titles} for {whose}, with {named}, using {version}."
        yield "What the models were trained on is not part of the tables."
        yield from _seeds(summary, "There are predictions of", " of each")
        return
    titles = words.listed(f"{r.title} (from {r.pretrained})" if r.pretrained else r.title for r in recipes)
    yield f"We evaluated {titles} on {of} with {version}: {clips}{spoken}, {named}."
    yield f"Protocol {protocol['name']}: {protocol['definition'].rstrip('.')}."
    yield {
        True: f"No test {who.removesuffix('s')} was in training.",
        False: f"Test {who} may also be in training.",
        None: f"Whether test {who} were in training is not known.",
    }[protocol["speaker_disjoint"]]
    yield from _seeds(summary, "Each was trained with", " per fold")


def _seeds(summary: Report, before: str, after: str) -> Iterator[str]:
    seeds = {len(recipe.seeds) for recipe in summary.recipes}
    if seeds != {0}:
        least, most = min(seeds), max(seeds)
        number = str(least) if least == most else f"{least} to {most}"
        yield f"{before} {number} seed{'s' * (most > 1)}{after}."


def _scores(summary: Report) -> Iterator[str]:
    who = words.people(summary.corpus["name"])
    titles = words.listed(metric.title for metric in METRICS.values())
    pooled = ", with all folds pooled" if any(recipe.folds for recipe in summary.recipes) else ""
    yield f"Scores are {titles}{pooled}; UAR is the mean of the labels' recalls, WA is accuracy."
    if any(len(recipe.seeds) > 1 for recipe in summary.recipes):
        yield "Seeds are scored one by one and averaged."
    if any(recipe.scores["uar"].low is not None for recipe in summary.recipes):
        yield (
            f"Intervals are at 95 %, from {summary.bootstrap.replicates:,} bootstrap replicates of whole {who} with "
            "expanded percentiles [@hesterberg2015], made at least as wide as a cluster-robust standard error (CR2) "
            "[@bell2002] with its degrees of freedom [@pustejovsky2018] asks for."
        )
        if summary.over_seeds:
            yield "The variance over seeds within folds is added, with joint degrees of freedom [@satterthwaite1946]."
        yield scope_text(summary.scope, who)
    else:
        yield f"There are no intervals: {summary.recipes[0].scores['uar'].reason}."


def _pairs(summary: Report) -> Iterator[str]:
    who, nouns = words.people(summary.corpus["name"]), f"{summary.noun.capitalize()}s"
    pairs = [pair for pair in summary.pairs if pair.comparison]
    tested = [pair for pair in pairs if pair.comparison and pair.comparison.p is not None]
    if pairs:
        drawn = f", with the same resampled {who}" if tested else ""
        yield f"{nouns} are compared in pairs on the clips that both were tested on{drawn}."
    if tested:
        several = f", and are adjusted for {len(tested)} pairs [@holm1979]" if len(tested) > 1 else ""
        yield f"P-values of UAR invert these intervals{several}; a difference is shown at 5 %."
        yield "Accuracy is also compared by McNemar's test for clustered clips [@obuchowski1998]."
        yield (
            f"Two {summary.noun}s are called equivalent if the 90 % interval of their difference in UAR lies within "
            f"±{words.points(summary.margin)} points [@schuirmann1987]."
        )
    if summary.letters:
        yield f"{nouns} that share a letter are not shown to differ after this adjustment [@piepho2004]."
    if tested:
        yield "Differences in the recall of single labels have simultaneous intervals (Bonferroni) [@dunn1961]."


def _trust(summary: Report) -> Iterator[str]:
    each = [recipe.confidence for recipe in summary.recipes]
    if any(found.calibration for found in each):
        fitted = any(found.calibration and found.calibration.after for found in each)
        before = " before and after one temperature per model, fitted on its development subset [@guo2017]"
        yield (
            f"Calibration is measured{before if fitted else ''} by the expected calibration error and its debiased "
            "root mean square [@kumar2019]; selective prediction by the area under the risk-coverage curve "
            "[@geifman2019]."
        )
    if any(level.speakers for found in each for level in found.sets or ()):
        yield "Prediction sets are hierarchical conformal sets [@lee2023]."
    if any(found.sentences for found in each):
        yield "Standard errors over sentences too are two-way cluster-robust [@cameron2011]."
    if any(fair.gap for found in each for fair in (found.groups or {}).values()):
        yield "Gaps between groups are tested by permuting the groups' names [@phipson2010]."


def _citable(corpus: Mapping[str, Any]) -> bool:
    """Whether the citation names a publication; own corpora say that there is none."""
    return re.search(r"\b(19|20)\d\d\b", corpus["citation"]) is not None


def _own_entries(summary: Report) -> dict[str, str]:
    title = "{serlab}: speech emotion recognition models, compared on speakers they have never heard"
    version = escape(words.listed(summary.serlab))
    corpus = escape(words.corpus_title(summary.corpus["name"]))
    cited = escape(summary.corpus["citation"])
    return {
        "serlab": f"@misc{{serlab,\n  author = {{{{The serlab authors}}}},\n  title = {{{title}}},\n"
        f"  howpublished = {{Software, version {version}}}\n}}",
        "corpus": f"@misc{{corpus,\n  title = {{{{{corpus}}}}},\n  key = {{{corpus}}},\n  note = {{{cited}}}\n}}",
    }


def _entries() -> dict[str, str]:
    text = (files("serlab.report") / "templates" / "methods.bib").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in _ENTRY.finditer(text)}


def _short(key: str, entry: str) -> str:
    """Authors and year, e.g. `` (Guo et al., 2017)``; nothing for what the sentence itself names."""
    author = re.search(r"author = \{([^{}]+)\}", entry)
    if author is None:
        return ""
    names = [name.split(",")[0].strip() for name in author[1].split(" and ")]
    shown = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f" ({shown}, {key[-4:]})"
