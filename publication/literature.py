"""Published figures of others for comparison, with their sources; none of them was measured by serlab."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        what: model or human raters.
        figure: as published, in per cent.
        measure: what the figure is.
        split: how clips were split.
        apart: whether all test actors were unseen in training; None for human raters.
        source: who published it.
    """

    what: str
    figure: str
    measure: str
    split: str
    apart: bool | None
    source: str


PEOPLE = Published(
    "People, from the voice alone",
    "40.7",
    "UAR",
    "all 91 actors",
    None,
    "CREMA-D's votes, 68,568 ratings (the paper's share of ratings is 40.9)",
)
SEED = (
    Published(
        "Wav2Vec2-base, fine-tuned",
        "76.1",
        "accuracy",
        "random, 80/20 by clip",
        False,
        "the seed project, official files",
    ),
    Published(
        "ResNet18, ImageNet weights, augmented",
        "61.5",
        "accuracy",
        "random, 80/20 by clip, stratified",
        False,
        "the seed project, official files",
    ),
)
EVAR = (
    Published("Dasheng-1.2B, linear probe", "76.9 ± 1.0", "accuracy", "`evar`", True, "EVAR, official files"),
    Published("Whisper-large-v3, linear probe", "76.2 ± 0.6", "accuracy", "`evar`", True, "EVAR, official files"),
    Published("Whisper-base, linear probe", "70.8 ± 1.2", "accuracy", "`evar`", True, "EVAR, official files"),
    # EVAR's Wav2Vec2-C. Its configuration names wav2vec2-base-960h since May 2025 and wav2vec2-large-960h-lv60 before;
    # the README does not say which of the two, both fine-tuned for speech recognition, this figure describes.
    Published(
        "wav2vec2 fine-tuned for transcripts, linear probe",
        "65.5 ± 1.7",
        "accuracy",
        "`evar`",
        True,
        "EVAR, official files",
    ),
)
