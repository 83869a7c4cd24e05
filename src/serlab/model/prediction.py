"""Predictions, and their conversion to tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from serlab.model.inputs import InputWarning
from serlab.model.segments import Segment

if TYPE_CHECKING:
    import pandas as pd

NO_SPEECH = "no speech"


@dataclass(frozen=True)
class Prediction:
    """What a model says about one clip, or about a recording that was divided into segments.

    Attributes:
        label: the most probable label; None if the clip is silent, or if the model abstains.
        probabilities: of each label, in the model's order; empty if the clip is silent. Of a
            divided recording, the mean over its segments with speech; empty without any.
        path: the file; None for an array.
        segments: of a divided recording, in the order of time; empty for a clip.
        temperature: what the scores were divided by, with ``calibrated=True``; else None.
        warnings: in which ways the sound is unlike the training clips; empty without probabilities.
    """

    label: str | None
    probabilities: dict[str, float]
    path: str | None = None
    segments: tuple[Segment, ...] = ()
    temperature: float | None = None
    warnings: tuple[InputWarning, ...] = ()

    def data(self) -> dict[str, Any]:
        """The prediction as JSON-able data.

        The keys ``segments``, ``temperature`` and ``warnings`` are there only if they have a value.

        >>> Prediction("sad", {"calm": 0.25, "sad": 0.75}, "a.wav").data()
        {'path': 'a.wav', 'label': 'sad', 'probabilities': {'calm': 0.25, 'sad': 0.75}}
        """
        found = {"path": self.path, "label": self.label, "probabilities": self.probabilities}
        rest = {
            "segments": [asdict(segment) for segment in self.segments],
            "temperature": self.temperature,
            "warnings": [asdict(warning) for warning in self.warnings],
        }
        return found | {name: value for name, value in rest.items() if value}

    def rows(self) -> list[dict[str, Any]]:
        """One row per segment as JSON-able data: ``path``, ``start``, ``end``, ``label`` and so on.

        A clip is one row without start and end. Rows of calibrated probabilities have a
        ``temperature``.

        >>> Prediction("sad", {"sad": 1.0}, "a.wav").rows()
        [{'path': 'a.wav', 'start': None, 'end': None, 'label': 'sad', 'probabilities': {'sad': 1.0}, 'speech': True}]
        """
        whole = {"start": None, "end": None, "label": self.label, "probabilities": self.probabilities}
        parts = [asdict(segment) for segment in self.segments] or [whole | {"speech": bool(self.probabilities)}]
        rest = {} if self.temperature is None else {"temperature": self.temperature}
        return [{"path": self.path, **part, **rest} for part in parts]


def word_of(found: Prediction | Segment) -> str:
    """The label in words, also where there is none.

    >>> word_of(Prediction(None, {"calm": 0.5, "sad": 0.5})), word_of(Prediction(None, {}))
    ("can't tell", 'no speech')
    """
    return found.label or ("can't tell" if found.probabilities else NO_SPEECH)


def column_names(labels: Iterable[str], *, segments: bool = False, calibrated: bool = False) -> tuple[str, ...]:
    """Columns of a table of predictions, with one row per clip or per segment.

    >>> column_names(["calm", "sad"])
    ('path', 'predicted', 'prob_calm', 'prob_sad')
    """
    times = ("start", "end", "speech") if segments else ()
    rest = ("temperature",) if calibrated else ()
    return "path", *times, "predicted", *(f"prob_{label}" for label in labels), *rest


def to_frame(predictions: Iterable[Prediction]) -> pd.DataFrame:
    r"""Convert predictions of one model to a table that :func:`serlab.evaluate` takes.

    Args:
        predictions: any number of predictions.

    Returns:
        One row per prediction, with the columns ``path``, ``predicted`` and ``prob_<label>``. If a
        recording was divided, one row per segment, with the columns ``start``, ``end`` and
        ``speech`` too. Calibrated probabilities have the column ``temperature``. Missing values are
        NaN. Bytes of a path that are not UTF-8 are escapes, e.g. ``\udce9``, as in all tables.

    >>> to_frame([Prediction("sad", {"calm": 0.25, "sad": 0.75}, "a.wav")])
        path predicted  prob_calm  prob_sad
    0  a.wav       sad       0.25      0.75
    """
    import pandas as pd

    found = list(predictions)
    segments = any(one.segments for one in found)
    rows = [row for one in found for row in (one.rows() if segments else [one.data()])]
    labels: dict[str, float] = next((row["probabilities"] for row in rows if row["probabilities"]), {})
    columns: dict[str, list[Any]] = {"path": [_in_table(row["path"]) for row in rows]}
    if segments:
        columns |= {name: [math.nan if row[name] is None else row[name] for row in rows] for name in ("start", "end")}
        columns["speech"] = [row["speech"] for row in rows]
    columns["predicted"] = [row["label"] for row in rows]
    columns |= {f"prob_{label}": [row["probabilities"].get(label, math.nan) for row in rows] for label in labels}
    if any(one.temperature is not None for one in found):
        columns["temperature"] = [row.get("temperature", math.nan) for row in rows]
    return pd.DataFrame(columns)


def _in_table(path: str | None) -> str | None:
    return None if path is None else path.encode("utf-8", "backslashreplace").decode()
