"""A decoder process: reads recordings from standard input, and writes their samples to standard output.

Each recording is 8 bytes with its size (little-endian) and its content. Each answer is 4 bytes with
the size of a JSON object, that object, and ``samples`` numbers (float32, mono, 16 kHz). Nothing is
pickled, so even a decoder that a malicious file controls can only send numbers.

The process limits itself (memory, seconds per recording, no files, no core dumps) and ends with its
standard input, so it cannot outlive the server for long.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from serlab.audio import DEFAULT_LIMITS, SAMPLE_RATE, Audio, AudioError, Limits, blocks
from serlab.audio.reading import opened
from serlab.core import lacks_memory
from serlab.model.sounds import NATURAL_SECONDS

UNREADABLE, TOO_LONG, UNUSABLE, TOO_LARGE = 400, 413, 422, 413

_USELESS = ("no samples", "silent", "shorter than", "non-finite samples")


def restrict(megabytes: float) -> None:
    """Limit this process: memory, no files, no core dumps (they would hold uploads). Windows has no such limits."""
    try:
        import resource
    except ImportError:
        return
    size = round(megabytes * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def decode(content: bytes, max_seconds: float) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Decode one recording.

    Args:
        content: of a file.
        max_seconds: a longer recording is refused, and not decoded to its end.

    Returns:
        A description, and the samples at 16 kHz, shape (samples,). The description has ``seconds``,
        ``rate``, ``channels`` and ``silent``, or ``fault`` with a status ``code``.
    """
    nothing = np.zeros(0, np.float32)
    try:
        with opened(BytesIO(content)) as recording:
            rate, channels = recording.rate, recording.channels
            seconds = recording.frames / rate
        if seconds > max_seconds:
            return _fault(TOO_LONG, f"longer than {max_seconds:g} s"), nothing
        silent = False
        if seconds <= NATURAL_SECONDS:
            limits = Limits(max_seconds=NATURAL_SECONDS)
            audio = Audio.from_file(BytesIO(content), limits=limits, allow_silence=True)
            samples, silent, seconds = audio.samples, audio.silent, audio.seconds
        else:
            samples = _long(content, max_seconds)
    except AudioError as error:
        useless = error.reason.startswith(_USELESS)
        long = error.reason.startswith("longer than")
        return _fault(TOO_LONG if long else UNUSABLE if useless else UNREADABLE, error.reason), nothing
    except Exception as error:
        if lacks_memory(error):
            return _fault(TOO_LARGE, "decoding it takes more memory than allowed"), nothing
        return _fault(UNREADABLE, "damaged, or of a kind that is not read"), nothing
    return {"seconds": seconds, "rate": rate, "channels": channels, "silent": silent}, samples


def _long(content: bytes, max_seconds: float) -> NDArray[np.float32]:
    found, held = [], 0
    for block in blocks(BytesIO(content)):
        held += len(block)
        if held > max_seconds * SAMPLE_RATE:
            raise AudioError(None, f"longer than {max_seconds:g} s")
        found.append(block)
    if held < DEFAULT_LIMITS.min_seconds * SAMPLE_RATE:
        raise AudioError(None, "no samples")
    return np.concatenate(found)


def _fault(code: int, reason: str) -> dict[str, Any]:
    return {"code": code, "fault": reason}


def serve(received: BinaryIO, sent: BinaryIO, max_seconds: float, decode_seconds: float) -> None:
    """Answer recordings until the input ends; a recording that takes too long ends the process by SIGALRM."""
    while len(head := received.read(8)) == 8:
        content = received.read(struct.unpack("<Q", head)[0])
        _alarm(decode_seconds)
        said, samples = decode(content, max_seconds)
        _alarm(0)
        text = json.dumps(said | {"samples": len(samples)}).encode()
        sent.write(struct.pack("<I", len(text)) + text)
        sent.write(np.ascontiguousarray(samples, "<f4").data)
        sent.flush()
        del content, samples


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    """Run a decoder: its maximum length, seconds and megabytes are arguments."""
    max_seconds, decode_seconds, megabytes = map(float, sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle.
    # Whatever a library prints must not reach the answers.
    sent = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    restrict(megabytes)
    serve(sys.stdin.buffer, sent, max_seconds, decode_seconds)


if __name__ == "__main__":
    main()
