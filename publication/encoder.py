"""``python -m publication.encoder FOLDER``: ship an encoder folder in ``src/serlab/pretrained/``.

FOLDER is what ``serlab pretrain RECIPE --speech librispeech --speech ljspeech --out FOLDER`` wrote. The
two folders of speech hold public recordings that a shipped encoder may hear (docs/recipes.md#wav2vec2-small).
No corpus of emotional speech is among them, so models that start from the encoder can be tested on
any of these corpora. The weights are stored as float16. From one FOLDER, the script makes the same
bytes each time.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from publication.box import write_rounded
from serlab.checkpoints.weights import PACKAGED, WEIGHTS
from serlab.core.files import sha256_file, write_json, write_text
from serlab.core.settings import plain
from serlab.model.schema import HEARD
from serlab.recipes import load_recipe
from serlab.training.encoder_folder import MADE, heard_by, read
from serlab.training.speech import public

RECIPE = "wav2vec2-small-scratch"
NAME = "wav2vec2-small"
SPEECH = ["librispeech", "ljspeech"]
COPIED = ("config.json", "preprocessor_config.json", HEARD)
CARD = "README.md"
_ROUNDED = """
The weights of this copy are stored as float16. `NOTICE` names the licence, and the works that it was made from.
"""


def main(arguments: Sequence[str]) -> None:
    """Write the folder of the shipped encoder."""
    if len(arguments) != 1:
        sys.exit(f"give the encoder folder of serlab pretrain {RECIPE}.")
    source, target = Path(arguments[0]), PACKAGED / NAME
    made, settings = read(source), load_recipe(RECIPE).training.pretraining
    if made["settings"] != public(plain(settings)):
        sys.exit(f"{source} was not pretrained with the settings of {RECIPE}.")
    if (names := [each["name"] for each in heard_by(source) or ()]) != SPEECH:
        sys.exit(f"{source} has heard {', '.join(names)}; a shipped encoder hears {', '.join(SPEECH)} alone.")
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(source / name, target / name)
    write_rounded(source / WEIGHTS, target / WEIGHTS)
    write_text(target / CARD, (source / CARD).read_text(encoding="utf-8") + _ROUNDED)
    write_json(target / MADE, made | {"weights_sha256": sha256_file(target / WEIGHTS)})
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
