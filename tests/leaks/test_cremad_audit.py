"""The audit on the real corpus: known duplicates, leaking protocols, planted duplicates."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.copies import COPIES, TOGETHER

from serlab.audio import SAMPLE_RATE, Audio
from serlab.audio.fingerprints import RATE as LOW
from serlab.audio.fingerprints import fingerprint
from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.leaks import audit
from serlab.protocols import split
from serlab.recordings.matching import same_recordings

# The three that are known, and four that the audit has found: each correlates over its whole length
# (docs/audit.md).
KNOWN = {
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
}
FOUND = {
    ("1017_IWL_ANG_XX", "1017_IWL_FEA_XX"),
    ("1067_IEO_DIS_LO", "1067_IEO_FEA_LO"),
    ("1072_IEO_ANG_LO", "1072_IEO_DIS_MD"),
    ("1072_IEO_ANG_MD", "1072_IEO_DIS_MD"),
}


@pytest.fixture(scope="module")
def corpus(cremad_root) -> Corpus:
    return load_corpus("crema-d", data=cremad_root)


@pytest.mark.cremad
@pytest.mark.slow
def test_known_duplicates_and_leaks(corpus: Corpus) -> None:
    fair = audit(corpus, split(corpus, "emo-superb-5"))
    by_code = {finding.code: finding for finding in fair}
    assert not [finding.code for finding in fair if finding.severity == "error"]
    assert set(by_code["SL003"].pairs) >= KNOWN
    assert set(by_code["SL003"].pairs) - KNOWN - FOUND == set()
    assert "1076_MTI_SAD_XX" in by_code["SL004"].clips
    for name in ("seed-random", "clip-random-5"):
        errors = {finding.code for finding in audit(corpus, split(corpus, name)) if finding.severity == "error"}
        assert "SL001" in errors


@pytest.mark.cremad
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MP3, 64 kbit/s", "Opus, 0.2 s trimmed at both ends, noise"])
def test_planted_duplicates_of_real_clips_are_found(corpus: Corpus, kind: str) -> None:
    chosen = corpus.clips[corpus.clips["speaker"].isin(["1003", "1004"])]["path"].tolist()[::4]
    sounds = [Audio.from_file(path).samples for path in chosen]
    low = [
        Audio.from_array(sound, SAMPLE_RATE).at(LOW)
        for sound in sounds + [{**COPIES, **TOGETHER}[kind](sound) for sound in sounds]
    ]
    pairs = {(p.first, p.second) for p in same_recordings([fingerprint(each) for each in low], low.__getitem__)}
    wanted = {(place, place + len(sounds)) for place in range(len(sounds))}
    assert len(pairs & wanted) >= 0.99 * len(wanted)
    assert not np.any([pair not in wanted for pair in pairs])
