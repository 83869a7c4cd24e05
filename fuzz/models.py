"""Damaged and hostile model folders: each must be refused in a sentence or score as before; no code may run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fuzz import materials, process
from fuzz.cases import ALTERED, KEPT, REFUSED, WHOLE, Case, Fault, raised, sentence_faults
from fuzz.model_files import Harm
from fuzz.model_harm import HARMS

WARM = (
    "serlab.model.folder",
    "serlab.inference.files",
    "serlab.experiments.compare",
    "transformers",
    *(
        f"transformers.models.{name}.modeling_{name}"
        for name in ("wav2vec2", "hubert", "wavlm", "whisper", "wav2vec2_bert", "resnet")
    ),
)

_CLOSE = 1e-3
_SAME = 1e-6
_BASELINES = "baselines.json"
_OTHERS = set(materials.FAMILIES) - set(materials.READ_BY_SERLAB)
_CLIP = "s03_happy_1.wav"


def prepare(seeds: Path) -> None:
    """Train and save the models, and store reference scores, from transformers if possible."""
    from serlab import predict

    own = materials.trained(seeds)
    folders = dict(own)
    for family in materials.FAMILIES:
        folders[family] = materials.foreign(seeds / "foreign", family)
    clip = seeds / "corpus" / _CLIP
    baselines: dict[str, Any] = {}
    for name, folder in folders.items():
        kept = seeds / "models" / name
        shutil.copytree(folder, kept)
        if name in own:
            says: Any = predict(kept, clip).predictions[0].probabilities
        else:
            says = _reference(kept, clip) if name not in ("image", "text") else None
        baselines[name] = says
    (seeds / "models" / _BASELINES).write_text(json.dumps(baselines), encoding="utf-8")


def _reference(folder: Path, clip: Path) -> dict[str, float]:
    """Return the scores of plain transformers for a clip."""
    import soundfile
    import torch
    import transformers

    hf: Any = transformers
    model = hf.AutoModelForAudioClassification.from_pretrained(folder).eval()
    wave, rate = soundfile.read(clip, dtype="float32")
    inputs = hf.AutoFeatureExtractor.from_pretrained(folder)(wave, sampling_rate=rate, return_tensors="pt")
    with torch.inference_mode():
        shares = torch.softmax(model(**inputs).logits[0].double(), 0).tolist()
    return dict(zip((model.config.id2label[index] for index in range(len(shares))), shares, strict=True))


def make(random: Random, seeds: Path, folder: Path) -> Case:
    """Copy a model folder and damage it."""
    own = tuple(materials.KINDS)
    name = random.choice((*own, *own, *materials.READ_BY_SERLAB, *materials.FAMILIES))
    place = folder / random.choice(("model",) * 12 + ("a model", "mödel", "model[red]x", "model\nx", "model\x1b[31m"))
    shutil.copytree(seeds / "models" / name, place)
    marker = folder / "code-ran"
    harm = random.choice(HARMS)(random, place, name, marker)
    baseline = json.loads((seeds / "models" / _BASELINES).read_text(encoding="utf-8"))[name]
    text = f"{name}: {harm.how}, in {place.name!r}; expected: {harm.expect}"
    clip = seeds / "corpus" / _CLIP
    return Case(text, partial(_judge, name, harm, place, marker, clip, baseline))


def _judge(
    name: str, harm: Harm, place: Path, marker: Path, clip: Path, baseline: dict[str, float] | None
) -> Iterator[Fault]:
    from serlab import SerlabError, predict

    where = harm.how.partition(":")[0]
    try:
        said = predict(place, [clip], precision="fp32")
    except SerlabError as error:
        if "\n" not in place.name and "\x1b" not in place.name:
            yield from sentence_faults(str(error), where)
        if harm.expect == WHOLE and name not in _OTHERS:
            yield Fault("refused", f"refused: {error}", where)
    except Exception as error:
        yield raised(error)
    else:
        if len(said.predictions) + len(said.excluded) != 1:
            yield Fault("unlisted", f"{len(said.predictions)} predictions, {len(said.excluded)} exclusions", where)
        for row in said.predictions:
            yield from _score_faults(harm, row.probabilities, baseline, where)
    if marker.exists():
        yield Fault("code", "the folder's code ran", where)
    if process.asked():
        yield Fault("code", "something asked on standard input", where)


def _score_faults(
    harm: Harm, shares: dict[str, float], baseline: dict[str, float] | None, where: str
) -> Iterator[Fault]:
    if not all(0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-5:
        yield Fault("changed", f"no probabilities: {shares}", f"{where}: no probabilities")
    elif baseline is None or harm.expect == REFUSED:
        yield Fault("changed", f"scored: {shares}", f"{where}: scored")
    elif harm.expect in (WHOLE, KEPT):
        if shares.keys() != baseline.keys():
            yield Fault("changed", f"other labels: {list(shares)}", f"{where}: other labels")
        elif (off := max(abs(shares[label] - baseline[label]) for label in baseline)) > _CLOSE:
            yield Fault("changed", f"{off:.4f} away from {baseline}: {shares}", f"{where}: other scores")
    elif harm.expect == ALTERED and all(abs(shares.get(label, 9) - baseline[label]) < _SAME for label in baseline):
        yield Fault("changed", "the same scores as before", f"{where}: not used")
