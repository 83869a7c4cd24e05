"""An encoder folder: a plain transformers encoder, the speech that it has heard, how it was made, and its card."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serlab import __version__
from serlab.checkpoints.weights import WEIGHTS, find, identity, public_name, quiet
from serlab.core import UserError
from serlab.core.files import cache_folder, read_json, sha256_file, write_json, write_text, writing_folder
from serlab.core.settings import plain
from serlab.model.schema import HEARD
from serlab.recipes import Pretraining
from serlab.training.checkpoint import Checkpoint
from serlab.training.speech import Heard, public

MADE = "pretraining.json"
"""Files of the folder: the speech that was heard, and how the encoder was made."""

_FORMAT = 1
_MOST_HEARD_BYTES = 2**31
"""About 17 million recordings."""


def home() -> Path:
    """The folder of the encoders that runs have pretrained, below the cache folder."""
    return cache_folder() / "encoders"


def kept() -> list[tuple[Path, int]]:
    """Folder and size in bytes of each encoder that runs have pretrained."""
    folders = sorted(path.parent for path in home().glob(f"[0-9a-f]*/{MADE}"))
    return [(folder, sum(path.stat().st_size for path in folder.iterdir())) for folder in folders]


def clear(unused_days: float = 0.0) -> int:
    """Remove encoders that no run used for some days, all by default; return the number of freed bytes."""
    freed = 0
    for folder, size in kept():
        if time.time() - (folder / MADE).stat().st_mtime >= unused_days * 86400:
            shutil.rmtree(folder, ignore_errors=True)
            freed += size
    return freed


def is_complete(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether a folder holds the encoder of this identity, undamaged."""
    try:
        made = read(folder)
        return bool(made["identity"] == wanted and made["weights_sha256"] == sha256_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read(folder: Path) -> dict[str, Any]:
    """How the encoder of a folder was made, as plain data."""
    made: dict[str, Any] = json.loads((folder / MADE).read_text(encoding="utf-8"))
    return made


def heard_by(folder: Path) -> list[dict[str, Any]] | None:
    """What the encoder of a folder has heard, by source: ``name``, ``speakers`` (None: unknown) and ``sha256`` by clip.

    Returns:
        None if the folder has no record.

    Raises:
        UserError: the record is damaged.
    """
    if not (folder / HEARD).is_file():
        return None
    try:
        sources: list[dict[str, Any]] = read_json(folder / HEARD, most_bytes=_MOST_HEARD_BYTES)["speech"]
        return [{"name": one["name"], "speakers": one["speakers"], "sha256": {**one["sha256"]}} for one in sources]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not say what its encoder has heard: its {HEARD} is damaged; copy the whole folder again."
        ) from error


def write(
    folder: Path,
    base: Any,
    preprocessor: dict[str, Any],
    *,
    wanted: dict[str, Any],
    settings: Pretraining,
    heard: Heard,
    made: Checkpoint,
) -> None:
    """Write an encoder folder atomically; an older one is replaced.

    Args:
        folder: the folder.
        base: the encoder, a model of transformers.
        preprocessor: its preprocessor configuration.
        wanted: its identity.
        settings: of the pretraining.
        heard: the speech.
        made: losses and time.

    Raises:
        MachineError: the folder cannot be written.
    """
    teacher = {"name": public_name(settings.checkpoint), "sha256": identity(find(settings.checkpoint))}
    behind = heard_by(find(settings.checkpoint)) or ()
    sources = [*(source.heard() for source in heard.sources), *behind]
    with writing_folder(folder) as temporary:
        with quiet():
            base.save_pretrained(temporary)
        write_json(temporary / "preprocessor_config.json", preprocessor)
        write_json(temporary / HEARD, {"format": _FORMAT, "encoders": [teacher], "speech": sources})
        content = {
            "identity": wanted,
            "weights_sha256": sha256_file(temporary / WEIGHTS),
            "serlab": __version__,
            "encoder": teacher,
            "settings": public(plain(settings)),
            "parameters": sum(parameter.numel() for parameter in base.parameters()),
            "hours": round(heard.hours, 3),
            "epochs": made.epochs,
            "seconds": round(made.seconds, 1),
        }
        write_json(temporary / MADE, content)
        write_text(temporary / "README.md", _card(type(base).__name__, content, sources))


_CARD = """---
library_name: transformers
pipeline_tag: feature-extraction
---

# {kind} architecture, distilled from {encoder} with serlab

A speech encoder of {parameters:,} parameters without a head. serlab {version} trained it from random weights to
predict the hidden states of layer {layers} of {encoder} on {hours:.1f} h of speech without
labels (method: DistilHuBERT, Chang et al. 2022). Only its architecture is that of {kind}; it holds
no weights of any other {kind} model. The weights of {encoder} have the SHA-256
`{sha256}`.

Epochs: {epochs}. Mean cosine of predicted and true states in the last one, on the speech that it was trained on:
{cosine:.2f}.

It has heard:

{heard}

`heard.json` names every recording with its SHA-256. Do not test a model that starts from this encoder on these
speakers.

Use it as a checkpoint, `--set model.checkpoint=THIS_FOLDER`, or in plain transformers:
`{model}.from_pretrained("THIS_FOLDER")`. Its input is a waveform at 16 kHz with zero mean and unit variance.

{encoder} and the recordings have licences of their own.
"""


def _card(name: str, content: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> str:
    def line(source: Mapping[str, Any]) -> str:
        speakers = source["speakers"]
        who = "" if speakers is None else f", {len(speakers)} speakers: {', '.join(speakers)}"
        return f"- {source['name']}: {source['clips']:,} recordings, {source['hours']:.2f} h{who}"

    return _CARD.format(
        kind=name.removesuffix("Model"),
        model=name,
        encoder=content["encoder"]["name"],
        sha256=content["encoder"]["sha256"],
        parameters=content["parameters"],
        version=content["serlab"],
        layers=" and ".join(map(str, content["settings"]["layers"])),
        hours=content["hours"],
        epochs=len(content["epochs"]),
        cosine=content["epochs"][-1]["cosine"],
        heard="\n".join(map(line, sources)),
    )
