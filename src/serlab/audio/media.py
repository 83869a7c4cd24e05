"""Samples from containers and codecs that libsndfile does not read, through PyAV (FFmpeg; extra ``media``).

The first audio stream is read. FFmpeg continues after damage if it can. Here, a decoding error, a
gap between packets, or less audio than the container states is a fault of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.audio.source import FaultError, Part, PartStream, Source

_MISSING = "needs the extra media: pip install 'serlab[media]'"
# Gaps in seconds, between packets and at the end, that rounded times can explain.
_SLACK = 0.1
# PyAV counts a frame's planes up to a null pointer, which FFmpeg's array of eight lacks when it is
# full: it crashes.
_MOST_PLANES = 8


class MediaFile:
    """A recording that FFmpeg decodes; see :class:`serlab.audio.decoding.Recording`."""

    def __init__(self, source: Source, kind: str, seconds: Fraction | None = None) -> None:
        self._source, self._kind, self._seconds = source, kind, seconds
        with self._opened() as (container, stream):
            self.rate, self.channels = int(stream.rate or 0), int(stream.channels or 0)
            if not self.rate or not self.channels:
                raise FaultError("damaged: its audio stream has no sample rate or no channels")
            promised = self._promised(container, stream)
            self._known = promised is not None
            if promised is None:
                # A live recording, e.g. from a browser: only the times of its packets give the
                # length.
                promised = max((_end(packet) for packet in container.demux(stream)), default=Fraction(0))
        self.frames = round(promised * self.rate)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all samples, shape ``(samples, channels)``."""
        held, packets, silent, position = 0, 0, 0, None
        with self._opened() as (container, stream):
            exact, codec = self._kind == "mov", stream.codec_context.name
            for packet in container.demux(stream):
                packets += packet.size > 0
                if packet.is_corrupt:
                    raise FaultError("damaged: one of its packets is corrupt")
                frames = packet.decode()
                # The decoder skipped a packet without output, unless its delayed output follows at
                # the end.
                silent += (position is not None and packet.size > 0 and not frames) - len(frames) * (not packet.size)
                for frame in frames:
                    if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
                        raise FaultError("damaged, or its sample rate or channels change")
                    position = _continued(position, frame)
                    block = _samples(frame)
                    # After the end stated by the container, there is only padding of the last
                    # packet.
                    if exact and self._known:
                        block = block[: max(0, self.frames - held)]
                    held += len(block)
                    if len(block):
                        yield block
            # An edit list may leave out packets after the end, so fewer are fine if the sound is whole.
            # Its length is rounded to the unit of the movie's times, usually a millisecond.
            whole = self._known and held >= self.frames - self.rate // 1000
            if exact and stream.frames and "pcm" not in codec and packets != stream.frames and not whole:
                raise FaultError(f"damaged: {packets} of its {stream.frames} packets are there")
        if silent > 0 and not codec.startswith("wma"):
            raise FaultError(f"damaged: {silent} of its {packets} packets give no sound")
        if self._known and held < self.frames - round(_SLACK * self.rate):
            seconds = self.frames / self.rate
            raise FaultError(f"truncated: header says {seconds:.1f} s, holds {held / self.rate:.1f} s")

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _promised(self, container: Any, stream: Any) -> Fraction | None:
        if self._seconds is not None:
            return self._seconds
        if stream.duration and stream.time_base:
            return Fraction(stream.duration * stream.time_base)
        # The container's length may be that of its picture.
        if container.duration and len(container.streams) == 1:
            return Fraction(container.duration, 1_000_000)
        return None

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        try:
            import av
        except ImportError as error:
            raise FaultError(_MISSING) from error
        stream = PartStream(self._source, Part(0, self._source.size))
        try:
            with av.open(stream, format=self._kind, metadata_errors="ignore") as container:
                if not container.streams.audio:
                    raise FaultError("a video without sound" if container.streams.video else "no audio in it")
                audio = container.streams.audio[0]
                if audio.codec_context is None:
                    raise FaultError("its kind of sound is not read; convert it to WAV or FLAC")
                audio.codec_context.options = {"err_detect": "crccheck+explode"}
                yield container, audio
        except av.FFmpegError as error:
            if stream.error is not None:
                raise stream.error from None
            raise FaultError(f"truncated or damaged: FFmpeg says {error.strerror!r}") from error
        if stream.error is not None:
            raise stream.error


def _end(packet: Any) -> Fraction:
    if packet.pts is None or packet.time_base is None:
        return Fraction(0)
    return Fraction((packet.pts + (packet.duration or 0)) * packet.time_base)


def _continued(position: Fraction | None, frame: Any) -> Fraction | None:
    """Start of the next frame in seconds; a gap means a missing packet."""
    length = Fraction(frame.samples, frame.sample_rate)
    if frame.pts is None or frame.time_base is None:
        return None if position is None else position + length
    begin = Fraction(frame.pts * frame.time_base)
    if position is not None and abs(begin - position) > _SLACK:
        raise FaultError(
            f"damaged: {abs(float(begin - position)):.1f} s are missing or double at {float(position):.1f} s"
        )
    return begin + length


def _samples(frame: Any) -> NDArray[np.float32]:
    channels = frame.layout.nb_channels
    planar = frame.format.is_planar
    if planar and channels >= _MOST_PLANES:
        data = _interleaved(frame)
    else:
        data = frame.to_ndarray()
        data = data.T if planar else data.reshape(-1, channels)
    if data.dtype == np.uint8:
        return np.asarray((data.astype(np.float32) - 128) / 128, np.float32)
    if data.dtype.kind == "i":
        return np.asarray(data / -float(np.iinfo(data.dtype).min), np.float32)
    return np.ascontiguousarray(data, dtype=np.float32)


def _interleaved(frame: Any) -> NDArray[Any]:
    """Samples of a planar frame without access to its planes, shape ``(samples, channels)``."""
    from av.audio.resampler import AudioResampler

    packed = AudioResampler(format=frame.format.packed, layout=frame.layout).resample(frame)
    return np.concatenate([each.to_ndarray().reshape(-1, frame.layout.nb_channels) for each in packed])
