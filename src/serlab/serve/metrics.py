"""Numbers for Prometheus; none of them concerns what was uploaded or answered."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Set for several worker processes: where they keep their numbers, so that each can give the sum."""


class Metrics:
    """The numbers of one server process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "serlab_requests", "Requests, by route and status code.", ("route", "code"), registry=registry
        )
        self.seconds = Histogram(
            "serlab_request_seconds", "Time to answer a request.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.batch = Histogram("serlab_batch_clips", "Clips scored together.", buckets=_SIZES, registry=registry)
        self.audio = Counter("serlab_audio_seconds", "Seconds of decoded recordings.", registry=registry)
        self._in_flight = self._gauge("serlab_in_flight", "Requests that are received or answered.")
        self._waiting = self._gauge("serlab_waiting_clips", "Clips that wait for a model.")
        self._held = self._gauge("serlab_held_bytes", "Bodies and samples in memory.")
        self._died = self._gauge("serlab_decoders_died", "Decoder processes that were replaced.")
        self._streams = self._gauge("serlab_streams", "Open streams.")

    def _gauge(self, name: str, title: str) -> Gauge:
        return Gauge(name, title, registry=self._registry, multiprocess_mode="livesum")

    def watch(self, now: Callable[[], tuple[int, int, int, int, int]]) -> None:
        """Where the current numbers come from: in flight, waiting, held bytes, died decoders, streams."""
        self._now = now

    def text(self) -> bytes:
        """All numbers in Prometheus's text format."""
        gauges = (self._in_flight, self._waiting, self._held, self._died, self._streams)
        for gauge, value in zip(gauges, self._now(), strict=True):
            gauge.set(value)
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
