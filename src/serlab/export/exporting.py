"""Export of a model to an ONNX file, checked against torch before it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serlab import __version__
from serlab.approaches.svm import FittedMachine
from serlab.audio import SAMPLE_RATE
from serlab.core import UserError, argument
from serlab.core.files import check_target, write_bytes
from serlab.core.progress import say
from serlab.export import checking, conversion, quantising
from serlab.export.checking import Agreement, Clip
from serlab.export.graphs import Windowed, graph_of
from serlab.model import folder as folders
from serlab.model.model import Model
from serlab.model.sounds import NATURAL_SECONDS

_MOST_CALIBRATION = 200
_LEAST_CLIPS = 20


@dataclass(frozen=True)
class Exported:
    """An ONNX file.

    Attributes:
        path: the file.
        size: in bytes.
        precision: ``fp32`` or ``int8``.
        agreement: with torch in fp32, on the clips that were not used for calibration.
    """

    path: Path
    size: int
    precision: str
    agreement: Agreement


def export(model: Model, path: Path, *, int8: bool = False, clips: Sequence[Path] = ()) -> Exported:
    """Write a model as one ONNX file: samples in, probabilities out.

    The file takes ``audio``, shape (batch, samples), float32 at 16 kHz within -1 to 1, and returns ``probabilities``,
    shape (batch, labels). The clips of a batch have one length and are not padded. Its metadata names the labels.

    Args:
        model: the model.
        path: the file, ending in ``.onnx``.
        int8: round weights and activations to 8 bits; needs at least 20 ``clips``.
        clips: files and folders to compare with torch, in addition to synthetic clips.

    Raises:
        UserError: serlab cannot export such a model, or there are too few clips for int8.
        MachineError: the extra ``onnx`` is not installed, or the file cannot be written.
        FindingsError: the probabilities in fp32 differ from torch by more than 1e-4.
    """
    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path} must end in .onnx.")
    check_target(path)
    if int8 and not clips:
        raise UserError(f"int8 changes some labels, which is measured on clips; give some with {argument('clips')}.")
    conversion.check_installed()
    fitted = folders.load(model.folder, "fp32")
    if int8 and isinstance(fitted, FittedMachine):
        raise UserError(
            f"{model.folder} is a support vector machine, which int8 does not make smaller; export in fp32."
        )
    graph = graph_of(fitted)
    given = checking.given_clips(clips)
    if int8 and len(given) < _LEAST_CLIPS:
        raise UserError(f"int8 needs at least {_LEAST_CLIPS} clips to measure changed labels, got {len(given)}.")
    reference = Model(model.folder, precision="fp32")
    say("exporting to ONNX; this takes some seconds.")
    convolutional = isinstance(getattr(graph, "network", None), Windowed)
    proto = conversion.convert(graph)
    content = conversion.plain(_copy(proto), {})
    session = checking.session_of(content)
    trial = checking.trial_clips()
    agreement = checking.compare(reference, session, [*trial, *given], "comparing with torch")
    checking.require(agreement, model.folder)
    checking.require_independent(session, trial, model.folder)
    about = _metadata(model, "fp32", one=False) | {"difference_from_torch": f"{agreement.difference:.2g}"}
    if int8:
        proto, measured = _calibrated(proto, given) if convolutional else (quantising.dynamic(proto), given)
        session = checking.session_of(conversion.plain(_copy(proto), {}))
        agreement = checking.compare(reference, session, measured, "measuring int8")
        about = _metadata(model, "int8", one=not convolutional) | {"int8": json.dumps(_measured(agreement))}
    content = conversion.plain(proto, about)
    write_bytes(path, content)
    return Exported(path, len(content), about["precision"], agreement)


def _calibrated(proto: Any, given: Sequence[Clip]) -> tuple[Any, Sequence[Clip]]:
    """Calibrate on every other clip; the rest measures."""
    return quantising.static(proto, given[::2][:_MOST_CALIBRATION]), given[1::2]


def _measured(agreement: Agreement) -> dict[str, Any]:
    rate = agreement.flips / agreement.clips
    return {
        "clips": agreement.clips,
        "flips": agreement.flips,
        "flip_rate": round(rate, 6),
        "largest_difference": round(agreement.difference, 6),
    }


def _metadata(model: Model, precision: str, *, one: bool) -> dict[str, str]:
    """What the file says of itself; all values are text, some in JSON."""
    info = model.info
    about = {
        "labels": json.dumps(list(model.labels), ensure_ascii=False),
        "sample_rate": str(SAMPLE_RATE),
        "precision": precision,
        "needs": (
            f"mono samples within -1 to 1 at {SAMPLE_RATE} Hz, {conversion.SHORTEST_SECONDS:g} to {NATURAL_SECONDS:g} "
            f"s; {'one clip at a time' if one else 'clips of one length per batch, not padded'}; silence has no answer"
        ),
        "recipe": info.recipe,
        "corpus": info.corpus,
        "protocol": info.protocol,
        "corpus_licence": info.licence,
        "citation": info.citation,
        "tested_uar": "not tested" if info.uar is None else json.dumps(asdict(info.uar)),
        "temperature": None if info.temperature is None else f"{info.temperature:.6g}",
        "limits": info.limits,
        "serlab": __version__,
    }
    return {name: value for name, value in about.items() if value is not None}


def _copy(proto: Any) -> Any:
    copied = type(proto)()
    copied.CopyFrom(proto)
    return copied
