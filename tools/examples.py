"""Make the page's examples again, with the voice of the synthetic corpus: ``python tools/examples.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from serlab.corpora import synthetic
from serlab.corpora.speak import Request

FOLDER = Path(__file__).resolve().parent.parent / "src" / "serlab" / "serve" / "static" / "examples"
CALM, EXCITED = {"pitch": 35, "range": 30, "rate": 150}, {"pitch": 75, "range": 95, "rate": 215}


def main() -> None:
    """Write the examples as MP3 at 16 kHz, which every browser plays."""
    FOLDER.mkdir(exist_ok=True)
    said = [("The train stops here twice.", CALM), ("I can't believe that you really did it!", EXCITED)]
    said += [(text, (CALM, EXCITED)[i // 4 % 2]) for i, text in enumerate(synthetic.SENTENCES * 2)]
    spoken = synthetic._spoken([Request(text=text, voice="en-us+f3", **how) for text, how in said])
    calm, excited, *rest = [soxr.resample(sound, synthetic.SPOKEN_RATE, 16000) for sound in spoken]
    pause = np.zeros(8000, np.float32)
    long = np.concatenate([part for sound in rest for part in (sound, pause)])[: 45 * 16000]
    for name, samples in (("calm", calm), ("excited", excited), ("long", long)):
        path = FOLDER / f"{name}.mp3"
        soundfile.write(path, 0.5 * samples / np.abs(samples).max(), 16000, compression_level=0.8)
        print(f"{name}: {len(samples) / 16000:.1f} s")


if __name__ == "__main__":
    main()
