"""Features on disk, computed once for all epochs, folds, seeds and recipes.

An entry belongs to one front end (its configuration), one decoder and one recording (the SHA-256 of
its bytes) under one waveform view. Hundreds of entries form a shard: a memory-mapped safetensors
file that is written atomically. Each entry has a checksum that is verified at every read. So a
shard may disappear, be truncated or damaged, and several processes may fill the same cache: entries
that fail the check are computed again.

    <cache>/features/<hash of front end and decoder>/<random>.safetensors
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from serlab import __version__
from serlab.audio import DECODER
from serlab.core import MachineError, UserError
from serlab.core.files import cache_folder, sha256_json, writing
from serlab.core.progress import say
from serlab.frontends.base import Features

LIMIT_VARIABLE = "SERLAB_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0

_SHARD_BYTES = 256 * 2**20
_SHARD_SECONDS = 60.0
_STALE_SECONDS = 3600.0


def features_folder() -> Path:
    """The folder of the features of all front ends."""
    return cache_folder() / "features"


def limit_bytes() -> int:
    """Maximum size of the cache: ``SERLAB_CACHE_GB`` gigabytes, 20 if unset.

    Raises:
        UserError: the variable is not a number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gigabytes = float(text) if text else DEFAULT_LIMIT_GB
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise UserError(f"{LIMIT_VARIABLE} is {text!r}; it must be a number of gigabytes, e.g. 20 (0 keeps nothing).")
    return int(gigabytes * 1e9)


class FeatureCache:
    """The cached features of one front end; safe to use from several threads.

    Args:
        config: the front end's configuration.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        libraries = {name: version(name) for name in ("numpy", "torch", "transformers")}
        self.config = {"frontend": config, "decoder": DECODER, "libraries": libraries, "serlab": __version__}
        self.folder = features_folder() / sha256_json(self.config)[:16]
        self.limit = limit_bytes()
        self.writable = self.limit > 0
        self._lock = threading.RLock()
        self._shards: dict[Path, _Shard] = {}
        self._where: dict[str, _Shard] = {}
        self._pending: dict[str, torch.Tensor] = {}
        self._pending_bytes, self._flushed = 0, time.monotonic()
        self._listed = -1
        self._refresh()

    def __contains__(self, key: str) -> bool:
        """Whether an entry exists; its content is checked when it is read."""
        with self._lock:
            return key in self._where or key in self._pending

    def get(self, key: str) -> Features | None:
        """Read an entry, or None if it does not exist or is damaged.

        Args:
            key: recording and view.
        """
        with self._lock:
            if key in self._pending:
                return self._pending[key].float().numpy()
            if key not in self._where:
                self._refresh()
            shard = self._where.get(key)
            if shard is None:
                return None
            try:
                return shard.read(key)
            except (ValueError, OSError, SafetensorError) as error:
                self._drop(shard, error)
                return None

    def put(self, key: str, features: Features) -> bool:
        """Add an entry; True if the cache accepts it.

        Args:
            key: recording and view.
            features: any shape, fp32; stored as bf16 if that is exact.
        """
        with self._lock:
            if not self.writable:
                return False
            tensor = torch.from_numpy(np.ascontiguousarray(features))
            half = tensor.bfloat16()
            self._pending[key] = half if torch.equal(half.float(), tensor) else tensor.clone()
            self._pending_bytes += self._pending[key].nbytes
            if self._pending_bytes >= _SHARD_BYTES or time.monotonic() - self._flushed > _SHARD_SECONDS:
                self.flush()
            return True

    def flush(self) -> None:
        """Write pending entries as one shard; a full disk or cache stops caching, not the computation."""
        with self._lock:
            self._flushed = time.monotonic()
            if not self._pending or not self.writable:
                return
            if not _make_room(self._pending_bytes, self.limit, keep=set(self._shards)):
                self._stop(f"it is full ({LIMIT_VARIABLE}={self.limit / 1e9:g})")
                return
            path = self.folder / f"{uuid.uuid4().hex}.safetensors"
            sums = {key: _checksum(tensor) for key, tensor in self._pending.items()}
            metadata = {"config": json.dumps(self.config, sort_keys=True), "checksums": json.dumps(sums)}
            try:
                with writing(path) as temporary:
                    save_file(self._pending, temporary, metadata=metadata)
            except (MachineError, SafetensorError) as error:
                self._stop(str(error))
                return
            if self._open(path):
                self._pending, self._pending_bytes = {}, 0

    def _stop(self, why: str) -> None:
        self.writable = False
        self._pending, self._pending_bytes = {}, 0
        say(f"the feature cache accepts no more entries: {why.rstrip('.')}; missing features are computed each time.")

    def _refresh(self) -> None:
        """Add shards that another process has written since the last call."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            return
        if changed == self._listed:
            return
        self._listed = changed
        for path in sorted(self.folder.glob("[0-9a-f]*.safetensors")):
            if path not in self._shards:
                self._open(path)
        _sweep(self.folder)

    def _open(self, path: Path) -> bool:
        try:
            shard = _Shard(path, self.config)
        except OSError:
            return False
        except (ValueError, SafetensorError) as error:
            say(f"the feature cache's file {path.name} is dropped ({' '.join(str(error).split())}) and written again.")
            _remove(path)
            return False
        with suppress(OSError):  # A file of another user may be readable but not writable.
            os.utime(path)
        self._shards[path] = shard
        for key in shard.checksums:
            self._where.setdefault(key, shard)
        return True

    def _drop(self, shard: _Shard, error: Exception) -> None:
        say(f"the feature cache's file {shard.path.name} is dropped ({error}); its features are computed again.")
        self._shards.pop(shard.path, None)
        self._where = {key: held for key, held in self._where.items() if held is not shard}
        if not isinstance(error, OSError):
            _remove(shard.path)


class _Shard:
    """One file of entries."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        opened: Any = safe_open(path, framework="pt")
        self.file = opened
        metadata: dict[str, str] = self.file.metadata() or {}
        if metadata.get("config") != json.dumps(config, sort_keys=True):
            raise ValueError("it is of another configuration")
        self.checksums: dict[str, int] = json.loads(metadata["checksums"])
        if set(self.checksums) != set(self.file.keys()):
            raise ValueError("its list of entries is damaged")

    def read(self, key: str) -> Features:
        tensor: torch.Tensor = self.file.get_tensor(key)
        if _checksum(tensor) != self.checksums[key]:
            raise ValueError("an entry is damaged")
        return tensor.float().numpy()


def _checksum(tensor: torch.Tensor) -> int:
    return zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().data) if tensor.numel() else 0


def _remove(path: Path) -> bool:
    """Remove a file, if the system allows it; True if it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove files that a killed process left incomplete."""
    for path in folder.glob(".*.safetensors"):
        try:
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
        except OSError:
            continue


def _shards() -> Iterator[tuple[Path, os.stat_result]]:
    for path in features_folder().glob("*/*.safetensors"):
        try:
            yield path, path.stat()
        except OSError:
            continue


def _make_room(needed: int, limit: int, keep: set[Path]) -> bool:
    """Evict the least recently opened shards until ``needed`` bytes fit; spare ``keep``."""
    shards = list(_shards())
    used = sum(stat.st_size for _, stat in shards)
    if needed + sum(stat.st_size for path, stat in shards if path in keep) > limit:
        return False  # Before anything is evicted in vain.
    for path, stat in sorted(shards, key=lambda item: item[1].st_mtime_ns):
        if used + needed <= limit:
            break
        if path not in keep and _remove(path):
            used -= stat.st_size
    return used + needed <= limit


@dataclass(frozen=True)
class Holding:
    """The cached features of one front end.

    Attributes:
        frontend: the front end's configuration.
        entries: number of clips and views.
        bytes: on disk.
        used: time of the last access, in seconds since 1970.
        folder: its path.
    """

    frontend: dict[str, Any]
    entries: int
    bytes: int
    used: float
    folder: Path


def holdings() -> list[Holding]:
    """List the content of the cache, most recently used first, without damaged files."""
    found: dict[Path, Holding] = {}
    for path, stat in _shards():
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                config, entries = json.loads(metadata["config"]), len(json.loads(metadata["checksums"]))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            continue
        old = found.get(path.parent)
        found[path.parent] = Holding(
            config["frontend"],
            entries + (old.entries if old else 0),
            stat.st_size + (old.bytes if old else 0),
            max(stat.st_mtime, old.used if old else 0),
            path.parent,
        )
    return sorted(found.values(), key=lambda holding: -holding.used)


def clear(unused_days: float = 0.0) -> int:
    """Remove features that were not used for some days, all by default; return the number of freed bytes."""
    freed = 0
    for path, stat in _shards():
        if time.time() - stat.st_mtime >= unused_days * 86400:
            freed += stat.st_size * _remove(path)
    for folder in features_folder().glob("*/"):
        _sweep(folder)
        with suppress(OSError):
            folder.rmdir()
    return freed
