"""Speech synthesis in a separate process: ``python -m serlab.corpora.speak``, espeak-ng behind a pipe.

espeak-ng is GPL-3.0 (the extra ``demo`` installs it as ``espeakng-loader``). It is loaded only
here, so serlab's own process never loads the library. Requests come on standard input, one JSON
object per line, the fields of :class:`Request`. For each request, standard output has the number of
bytes as text, a line feed, and the speech: 16-bit little-endian mono PCM at :data:`SAMPLE_RATE`.
Reference: espeak-ng's ``speak_lib.h``, version 1.52.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SAMPLE_RATE = 22050
"""Hz, of every espeak-ng voice."""

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4


@dataclass(frozen=True)
class Request:
    """One utterance.

    Attributes:
        text: what to say, in English.
        voice: espeak-ng's name of the voice and its variant, e.g. ``"en-us+m3"``.
        pitch: base pitch, 0 to 99; 50 is the voice's own.
        range: pitch range, 0 (monotone) to 99; 50 is the voice's own.
        rate: words per minute, 80 to 450; 175 is usual.
    """

    text: str
    voice: str
    pitch: int
    range: int
    rate: int


class _Engine:
    """espeak-ng, loaded from ``espeakng-loader``."""

    def __init__(self) -> None:
        import espeakng_loader

        data = Path(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        # espeak-ng limits the path of its data folder to 160 characters; a relative path always
        # fits.
        os.chdir(data.parent)
        rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data.name.encode(), _INITIALIZE_DONT_EXIT)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng cannot start with the data in {data}: it answered {rate}")
        self._system = ctypes.CDLL(None)
        self._chunks: list[bytes] = []
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def speak(self, request: Request) -> bytes:
        """Return 16-bit PCM at :data:`SAMPLE_RATE`."""
        library = self._library
        if request.voice != self._voice and library.espeak_SetVoiceByName(request.voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {request.voice!r}")
        self._voice = request.voice
        for parameter, value in ((_RATE, request.rate), (_PITCH, request.pitch), (_RANGE, request.range)):
            library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        # Breathy voices contain noise, either espeak-ng's own, seeded by the time, or the C
        # library's.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._system.srand(1)
        text = request.text.encode()
        failed = library.espeak_Synth(text, len(text) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        if failed or not self._chunks:
            raise RuntimeError(f"espeak-ng could not say {request.text!r}")
        return b"".join(self._chunks)


def serve(requests: Iterable[str], out: IO[bytes]) -> None:
    """Answer every request line on ``out``; skip blank lines."""
    engine = _Engine()
    for line in requests:
        if line.strip():
            speech = engine.speak(Request(**json.loads(line)))
            out.write(b"%d\n" % len(speech))
            out.write(speech)
            out.flush()


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout.buffer)
