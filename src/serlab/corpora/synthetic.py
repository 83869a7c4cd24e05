"""The synthetic corpus: 24 voices, 12 sentences and 6 emotions, 1,728 clips, generated locally.

With it, all of serlab runs in minutes without recordings. Its figures do not tell anything about
people. espeak-ng (GPL-3.0; the extra ``demo`` installs it as ``espeakng-loader``) speaks in a
separate process, :mod:`serlab.corpora.speak`; this module then modifies the speech. An emotion is a
set of shifts, loosely those of actors (Banse and Scherer 1996, doi:10.1037/0022-3514.70.3.614):
pitch, pitch range, tempo, spectral tilt, breathiness, vocal tract length (a smile shortens it) and
loudness. Each voice and clip adds jitter, and each clip has its own recording level and noise, so
no single cue separates the emotions.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import uniform_filter1d

from serlab.core import MachineError, UserError
from serlab.core.files import cache_folder, sha256_file, write_json, writing
from serlab.core.progress import bar, say
from serlab.corpora.base import Corpus, fingerprint
from serlab.corpora.description import Description
from serlab.corpora.speak import SAMPLE_RATE as SPOKEN_RATE
from serlab.corpora.speak import Request

VERSION = "2"
"""Part of the cache folder's name and of every clip's random seed; raise it if the audio changes."""

SAMPLE_RATE = 16000

SENTENCES = (
    "The door is still open.",
    "We leave on Monday morning.",
    "My sister took the keys.",
    "It will rain before noon.",
    "They painted the whole wall.",
    "Your letter came today.",
    "He left his coat inside.",
    "The train stops here twice.",
    "I saw them by the river.",
    "She put it on the table.",
    "There are nine of us now.",
    "You can hear it from here.",
)

# (accent and variant, pitch offset in semitones, vocal tract factor); twelve low voices, then
# twelve high ones.
_VOICES = (
    ("en-us+m1", 0.0, 1.00),
    ("en-us+m2", 1.0, 1.03),
    ("en-us+m7", -0.5, 0.97),
    ("en+Michael", -1.0, 1.02),
    ("en+m1", 0.0, 0.98),
    ("en-gb-scotland+m8", 0.5, 1.00),
    ("en-us+Lee", -1.0, 0.96),
    ("en-gb-x-rp+Gene", 1.5, 1.04),
    ("en-029+Lee", 0.5, 1.01),
    ("en-gb-x-gbcwmd+m2", -0.5, 0.99),
    ("en-gb-x-gbclan+m1", 2.5, 1.05),
    ("en-us+david", 3.0, 0.99),
    ("en-us+f1", 0.0, 1.02),
    ("en-us+f2", 0.0, 1.00),
    ("en-us+f3", -1.0, 0.98),
    ("en+f4", 0.5, 1.03),
    ("en-gb-x-rp+f5", -1.0, 0.97),
    ("en-us+Annie", -2.0, 0.96),
    ("en+linda", -1.0, 1.00),
    ("en-gb-scotland+steph", 0.5, 1.04),
    ("en-us+belinda", -1.5, 0.99),
    ("en-029+f2", 1.0, 1.05),
    ("en-gb-x-gbclan+f4", 0.0, 1.06),
    ("en-gb-x-gbcwmd+Alicia", -2.5, 0.98),
)
SPEAKERS = tuple(f"voice{number:02d}" for number in range(1, len(_VOICES) + 1))

# Shifts: pitch (semitones), pitch range (espeak-ng's scale), tempo (log2), tilt (dB per octave),
# breath (dB), vocal tract (log2), loudness (dB). Jitter is the standard deviation of a shift, over
# voices and over clips.
_SHIFTS = {
    "angry": (1.4, 18.0, 0.11, 2.8, -4.0, 0.00, 2.0),
    "disgust": (-1.4, -2.0, -0.15, 1.0, 3.0, -0.10, 0.0),
    "fear": (2.0, -14.0, 0.15, -0.3, 9.0, 0.03, -0.5),
    "happy": (1.8, 26.0, 0.03, 0.4, 0.0, 0.12, 1.0),
    "neutral": (0.0, 0.0, 0.02, -0.4, -4.0, 0.00, 0.0),
    "sad": (-1.5, -26.0, -0.14, -2.2, 5.0, -0.03, -2.0),
}
_VOICE_JITTER = np.array((0.0, 5.0, 0.04, 0.3, 1.0, 0.0, 1.0))
_CLIP_JITTER = np.array((0.8, 6.0, 0.06, 0.35, 1.5, 0.015, 4.0))

_MEAN_LEVEL_DB = -27.0
_MEAN_BREATH_DB = -26.0
_NOISE_DB = (-38.0, -24.0)
_WORDS_A_MINUTE = 205.0
_PITCH_STEPS_A_SEMITONE = 4.3
_PEAK = 0.98
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class _Plan:
    """One clip: what to say and how to modify the speech."""

    clip: str
    speaker: str
    label: str
    sentence: str
    request: Request
    tilt: float
    breath: float
    tract: float
    level: float


def load(description: Description, folder: Path | None = None) -> Corpus:
    """Load the synthetic corpus; generate it first if it is missing or incomplete.

    Args:
        description: of the corpus.
        folder: where its clips are or should be written; by default, the user's cache folder.

    Returns:
        The corpus of 1,728 clips, 16 kHz, 16 bit, each a multiple of 0.1 s long.

    Raises:
        MachineError: espeak-ng is not installed or does not run, or the folder cannot be written
            to.
    """
    home = folder or cache_folder() / f"synthetic-{VERSION}"
    plans = _plans()
    ours = any((home / f"{plan.clip}.wav").exists() for plan in plans)
    if folder and not ours and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} contains other files; give an empty folder for the 1,728 clips.")
    hashes = _whole(home, plans) or _make(home, plans)
    rows = [
        {
            "clip": plan.clip,
            "path": str((home / f"{plan.clip}.wav").absolute()),
            "speaker": plan.speaker,
            "label": plan.label,
            "sentence": plan.sentence,
            "duration": soundfile.info(home / f"{plan.clip}.wav").duration,
            "sample_rate": SAMPLE_RATE,
            "sha256": hashes[plan.clip],
        }
        for plan in plans
    ]
    clips = pd.DataFrame(rows).sort_values("clip", ignore_index=True)
    return Corpus(
        name=description.name,
        clips=clips,
        labels=description.labels,
        licence=description.licence,
        citation=description.citation,
        fingerprint=fingerprint(clips),
        copy="synthetic speech made by espeak-ng, no human voice",
        synthetic=True,
        description=description,
    )


def _whole(home: Path, plans: Sequence[_Plan]) -> dict[str, str] | None:
    """SHA-256 of each clip, if the manifest has this version and matches every file."""
    try:
        manifest = json.loads((home / _MANIFEST).read_text(encoding="utf-8"))
        hashes: dict[str, str] = manifest["sha256"]
        if manifest["version"] != VERSION or list(hashes) != [plan.clip for plan in plans]:
            return None
        changed = [clip for clip, wanted in hashes.items() if sha256_file(home / f"{clip}.wav") != wanted]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if changed:
        say(f"{home / changed[0]}.wav has changed; the synthetic corpus is made again.")
    return None if changed else hashes


def _make(home: Path, plans: Sequence[_Plan]) -> dict[str, str]:
    if importlib.util.find_spec("espeakng_loader") is None:
        raise MachineError(
            "the synthetic corpus needs espeak-ng, which is not installed; install it with pip install 'serlab[demo]'."
        )
    hashes = {}
    with bar("making the synthetic corpus", len(plans)) as progress:
        for plan, speech in zip(plans, _spoken([plan.request for plan in plans]), strict=True):
            path = home / f"{plan.clip}.wav"
            with writing(path) as temporary:
                temporary.write_bytes(_wav(_coloured(plan, speech)))
            hashes[plan.clip] = sha256_file(path)
            progress.advance()
    write_json(home / _MANIFEST, {"version": VERSION, "sha256": hashes})
    return hashes


def _plans() -> list[_Plan]:
    """Every clip of the corpus, in order of its id."""
    return [
        _plan(number, sentence, label)
        for number in range(len(_VOICES))
        for sentence in range(len(SENTENCES))
        for label in _SHIFTS
    ]


def _plan(number: int, sentence: int, label: str) -> _Plan:
    speaker = SPEAKERS[number]
    clip = f"{speaker}_s{sentence + 1:02d}_{label}"
    voice, own_pitch, own_tract = _VOICES[number]
    draw = _random(clip)
    strength = draw.uniform(0.8, 1.3)
    shift = strength * np.array(_SHIFTS[label]) + draw.normal(size=_CLIP_JITTER.shape) * _CLIP_JITTER
    shift += _random(speaker).normal(size=_VOICE_JITTER.shape) * _VOICE_JITTER
    pitch, span, tempo, tilt, breath, tract, loudness = (float(value) for value in shift)
    tract_factor = own_tract * 2.0**tract
    # Faster playback raises formants, pitch and tempo equally; pitch and tempo are corrected here.
    semitones = own_pitch + pitch - 12.0 * np.log2(tract_factor)
    request = Request(
        text=SENTENCES[sentence],
        voice=voice,
        pitch=round(np.clip(50 + _PITCH_STEPS_A_SEMITONE * semitones, 0, 99)),
        range=round(np.clip(50 + span, 0, 99)),
        rate=round(_WORDS_A_MINUTE * 2.0**tempo / tract_factor),
    )
    return _Plan(
        clip=clip,
        speaker=speaker,
        label=label,
        sentence=f"s{sentence + 1:02d}",
        request=request,
        tilt=tilt,
        breath=_MEAN_BREATH_DB + breath,
        tract=tract_factor,
        level=_MEAN_LEVEL_DB + loudness,
    )


def _random(name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{VERSION}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _spoken(requests: Sequence[Request]) -> Iterator[NDArray[np.float32]]:
    """Speak each request with espeak-ng, in a separate process; samples at its own rate."""
    lines = [json.dumps(asdict(request)).encode() + b"\n" for request in requests]
    command = [sys.executable, "-m", "serlab.corpora.speak"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        _send(process, lines[0])
        # One request ahead: espeak-ng speaks the next clip while this one is modified and written.
        for following in [*lines[1:], b""]:
            _send(process, following)
            yield _receive(process)


def _send(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    # If the process has ended, _receive reports its last message.
    with suppress(BrokenPipeError):
        os.write(process.stdin.fileno(), line)


def _receive(process: subprocess.Popen[bytes]) -> NDArray[np.float32]:
    assert process.stdout is not None
    assert process.stderr is not None
    head = process.stdout.readline()
    body = process.stdout.read(int(head)) if head else b""
    if not head or len(body) != int(head):
        last_words = process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2] or "no message"
        raise MachineError(
            f"espeak-ng stopped while speaking the synthetic corpus ({last_words}); "
            "reinstall it with pip install --force-reinstall 'serlab[demo]'."
        )
    return np.frombuffer(body, "<i2").astype(np.float32)


def _coloured(plan: _Plan, speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Modify espeak-ng's speech as planned, and add noise.

    Args:
        plan: the clip's plan.
        speech: samples at espeak-ng's rate.

    Returns:
        Samples at 16 kHz, a multiple of 0.1 s; the speech is never cut.
    """
    draw = _random(f"{plan.clip}/recording")
    voice = soxr.resample(speech, SPOKEN_RATE * plan.tract, SAMPLE_RATE).astype(np.float64)
    size = next_fast_len(len(voice), real=True)
    octaves = np.log2(np.clip(rfftfreq(size, 1 / SAMPLE_RATE), 250, 6000) / 1000)
    voice = irfft(rfft(voice, size) * 10 ** (plan.tilt * octaves / 20), size)[: len(voice)]
    voice /= voice.std()
    hiss = np.diff(draw.normal(size=len(voice) + 1))
    envelope = np.sqrt(uniform_filter1d(voice**2, SAMPLE_RATE // 25))
    voice += 10 ** (plan.breath / 20) * hiss * envelope
    before = int(draw.uniform(0.03, 0.12) * SAMPLE_RATE)
    tenth = SAMPLE_RATE // 10
    clip = np.zeros(-(-(before + len(voice) + tenth // 4) // tenth) * tenth)
    clip[before : before + len(voice)] = voice
    clip += 10 ** (draw.uniform(*_NOISE_DB) / 20) * draw.normal(size=len(clip))
    clip *= min(10 ** (plan.level / 20) / clip.std(), _PEAK / np.abs(clip).max())
    return clip.astype(np.float32)


def _wav(samples: NDArray[np.float32]) -> bytes:
    # Through memory, because libsndfile would sync every file to the disk.
    stream = io.BytesIO()
    soundfile.write(stream, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return stream.getvalue()
