"""``python -m publication.box [MODEL]``: make the model that serlab ships, in ``src/serlab/box/``.

The model is RECIPE, trained on all actors of CREMA-D with a teacher that was trained on all actors
too. The script trains it (resumable, in ``runs/box``), or takes MODEL, a folder that
``serlab train crema-d --recipe RECIPE --all --quote results/crema-d/emo-superb-5`` made elsewhere,
e.g. on a GPU. It stores the weights as float16 and writes a card from the published results. From
one MODEL, it makes the same bytes each time.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from publication import trust
from publication.tables import MAIN, table
from serlab.core.files import write_text
from serlab.corpora import load_corpus
from serlab.experiments.deployment import train_on_everyone
from serlab.model.box import FOLDER
from serlab.model.model import load_model
from serlab.model.schema import FILE
from serlab.recipes import identify, load_recipe
from serlab.report.words import percent

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "results" / "crema-d" / MAIN
RECIPE = "resnet18-small-distilled"
WEIGHTS = "model.safetensors"
COPIED = (FILE, "config.json", "preprocessor_config.json", "inputs.safetensors")
_PROBED = 600

_CARD = """
## How it was made

By `python -m publication.box` with the recipe `{recipe}`, chosen before any distilled recipe was tested. Its teacher, a
linear probe on Whisper-base's frozen layers, was trained on all 91 actors too. Trained on {machine} in {precision};
the epoch is the recipe's last. The weights are stored as float16: of {probed} clips of the corpus, rounding changes the
label of {flips}, and no probability by more than {largest}.

## What other models with this recipe reach on unseen actors

Five models, each trained on three fifths of the actors and tested on actors that neither it nor its teacher heard
(`{protocol}`, {clips:,} clips, 91 actors, seed 0, a copy of the corpus in 11,025 Hz). Rows: the intended emotion, with
the share of each answer in per cent.

{confusion}
{calibration}
The next table is about `can't tell`: how often the surest answers are right.

{abstention}
## What it knows, and what it does not

It knows twelve sentences of acted North American English, spoken by 91 actors in one studio and recorded with nothing
above 5.5 kHz. It was not tested on spontaneous speech, other languages, children, or other microphones; expect worse
results there, and read its warnings. It predicts the emotion that an actor was told to show, which listeners recognise
in 41 % of the ratings. Do not use it to judge a person.

## Licence

CC BY 4.0, apart from the licence of serlab's code. `NOTICE` names the works it was made from.
"""


def main(arguments: Sequence[str]) -> None:
    """Make the folder of the shipped model."""
    recipe = load_recipe(RECIPE)
    if arguments:
        model = Path(arguments[0])
    else:
        corpus = load_corpus("crema-d")
        model = train_on_everyone(corpus, recipe, quote=RESULTS, out=HOME / "runs" / "box")
    content = json.loads((model / FILE).read_text(encoding="utf-8"))
    identity = content["signature"]["identity"]
    if identity["recipe"] != identify(recipe)[0] or identity["protocol"] != "everyone" or not identity["quoted"]:
        sys.exit(f"{model} is not {RECIPE}, trained on all actors with --quote {RESULTS.relative_to(HOME)}.")
    for name in COPIED:
        shutil.copyfile(model / name, FOLDER / name)
    write_rounded(model / WEIGHTS, FOLDER / WEIGHTS)
    card = (model / "README.md").read_text(encoding="utf-8")
    write_text(FOLDER / "README.md", card + _story(content["signature"], *_rounding(model)))
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{FOLDER}: {size / 1e6:.1f} MB")


def write_rounded(source: Path, target: Path) -> None:
    """Write a file of weights with float16 in place of float32; counters stay as they are."""
    save_file({name: _rounded(tensor) for name, tensor in sorted(load_file(source).items())}, target)
    target.chmod(0o644)


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _rounding(model: Path) -> tuple[int, int, float]:
    """Number of clips, of changed labels, and the largest difference of a probability, by rounding to float16."""
    every = load_corpus("crema-d").clips["path"].tolist()
    paths = every[:: len(every) // _PROBED][:_PROBED]
    before, after = (load_model(folder, precision="fp32").predict_proba(paths) for folder in (model, FOLDER))
    flips = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    return len(paths), flips, float(np.abs(before - after).max())


def _story(signature: Mapping[str, Any], probed: int, flips: int, largest: float) -> str:
    report = json.loads((RESULTS / "report" / "report.json").read_text(encoding="utf-8"))
    (told,) = [recipe for recipe in report["recipes"] if recipe["name"] == RECIPE]
    only = {**report, "recipes": [told]}
    labels = told["labels"]
    rows = [
        [label, *(percent(count / sum(counts), 0) for count in counts)]
        for label, counts in zip(labels, told["confusion"], strict=True)
    ]
    machine = signature["machine"]
    return _CARD.format(
        recipe=RECIPE,
        machine=f"one {machine['gpu']}" if machine["gpu"] else "a processor",
        precision=signature["precision"],
        probed=probed,
        flips=flips or "none",
        largest=f"{largest:.4f}",
        protocol=MAIN,
        clips=told["clips"],
        confusion=table(["", *labels], rows),
        calibration=trust.calibration(only),
        abstention=trust.abstention(only),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
