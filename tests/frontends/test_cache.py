"""The feature cache: damaged files never give wrong features and are reported in one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from serlab.core import UserError
from serlab.frontends import cache
from serlab.frontends.cache import FeatureCache, clear, holdings

CONFIG = {"frontend": "test", "bands": 4}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path))
    return tmp_path


def features(count: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {f"clip{i}": random.standard_normal((5 + i, 4)).astype(np.float32) for i in range(count)}


def filled(values: dict[str, np.ndarray], config: dict = CONFIG) -> Path:
    """Fill a cache; the path of its one shard."""
    there = set(cache.features_folder().glob("*/*"))
    store = FeatureCache(config)
    for key, value in values.items():
        assert store.put(key, value)
    store.flush()
    return (set(cache.features_folder().glob("*/*")) - there).pop()


def right_or_absent(values: dict[str, np.ndarray], store: FeatureCache) -> int:
    """Number of entries; each must equal what was added."""
    found = {key: store.get(key) for key in values}
    for key, value in found.items():
        if value is not None:
            np.testing.assert_array_equal(value, values[key])
    return sum(value is not None for value in found.values())


def test_what_was_put_is_found_by_the_next_process_exactly() -> None:
    values = features()
    filled(values)
    assert right_or_absent(values, FeatureCache(CONFIG)) == len(values)


def test_an_entry_is_there_before_it_is_written() -> None:
    values, store = features(), FeatureCache(CONFIG)
    for key, value in values.items():
        store.put(key, value)
    assert right_or_absent(values, store) == len(values)


def test_what_bf16_holds_exactly_takes_half_of_the_space() -> None:
    random = torch.from_numpy(np.random.default_rng(0).standard_normal((400, 64)).astype(np.float32))
    whole = filled({"a": random.numpy()}).stat().st_size
    half = filled({"a": random.bfloat16().float().numpy()}, {**CONFIG, "bands": 5}).stat().st_size
    assert half < 0.55 * whole


def test_another_front_end_and_another_decoder_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = features()
    filled(values)
    assert right_or_absent(values, FeatureCache({**CONFIG, "bands": 5})) == 0
    monkeypatch.setattr(cache, "DECODER", "2/other")
    assert right_or_absent(values, FeatureCache(CONFIG)) == 0


def test_a_truncated_file_is_dropped_and_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    values = features()
    shard = filled(values)
    shard.write_bytes(shard.read_bytes()[:-100])
    assert right_or_absent(values, FeatureCache(CONFIG)) == 0
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not shard.exists()
    filled(values)
    assert right_or_absent(values, FeatureCache(CONFIG)) == len(values)


@pytest.mark.parametrize("where", [-1, -2000, 300, 40, 3])
def test_a_flipped_bit_is_found_wherever_it_is(where: int, capsys: pytest.CaptureFixture[str]) -> None:
    values = features()
    shard = filled(values)
    content = bytearray(shard.read_bytes())
    content[where] ^= 16
    shard.write_bytes(content)
    right_or_absent(values, FeatureCache(CONFIG))
    assert "is dropped" in capsys.readouterr().err
    assert not shard.exists()


def test_a_file_of_an_older_configuration_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    values = features()
    old = filled(values)
    current = FeatureCache({**CONFIG, "bands": 9})
    current.folder.mkdir(parents=True)
    old.rename(current.folder / old.name)
    assert right_or_absent(values, FeatureCache({**CONFIG, "bands": 9})) == 0
    assert "another configuration" in capsys.readouterr().err


def test_a_full_disk_ends_the_filling_and_not_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "save_file", full)
    store = FeatureCache(CONFIG)
    for key, value in features().items():
        assert store.put(key, value)
    store.flush()
    assert capsys.readouterr().err.count("accepts no more") == 1
    assert not store.put("more", np.zeros((2, 4), np.float32))
    assert list(cache.features_folder().glob("*/*")) == []


def test_an_unwritable_folder_costs_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "features").write_text("in the way")
    store = FeatureCache(CONFIG)
    store.put("a", np.zeros((2, 4), np.float32))
    store.flush()
    assert capsys.readouterr().err.count("\n") == 1


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = features(50)
    first, second = filled(sizes), filled(sizes, {**CONFIG, "bands": 5})
    for age, path in ((300, first), (200, second)):
        os.utime(path, (time.time() - age, time.time() - age))
    FeatureCache(CONFIG)  # uses the first
    room = 2.5 * first.stat().st_size
    monkeypatch.setenv("SERLAB_CACHE_GB", str(room / 1e9))
    filled(sizes, {**CONFIG, "bands": 6})
    assert first.exists()
    assert not second.exists()


def test_nothing_is_evicted_for_what_cannot_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    first = filled(features(50))
    monkeypatch.setenv("SERLAB_CACHE_GB", str(2 * first.stat().st_size / 1e9))
    store = FeatureCache({**CONFIG, "bands": 5})
    for key, value in features(500).items():
        store.put(key, value)
    store.flush()
    assert first.exists()


def test_a_cache_smaller_than_the_corpus_keeps_what_fits_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERLAB_CACHE_GB", "0.00001")
    monkeypatch.setattr(cache, "_SHARD_BYTES", 4000)
    values, store = features(60), FeatureCache(CONFIG)
    taken = [store.put(key, value) for key, value in values.items()]
    store.flush()
    assert taken[0]
    assert not taken[-1]
    assert capsys.readouterr().err.count("it is full") == 1
    assert 0 < right_or_absent(values, FeatureCache(CONFIG)) < len(values)


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_not_a_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERLAB_CACHE_GB", text)
    with pytest.raises(UserError, match="SERLAB_CACHE_GB"):
        FeatureCache(CONFIG)


FILL = """
import sys, time
import numpy as np
from serlab.frontends import cache
cache._SHARD_BYTES = 20_000
store = cache.FeatureCache({"frontend": "test", "bands": 4})
random = np.random.default_rng(0)
values = {f"clip{i}": random.standard_normal((5 + i, 4)).astype(np.float32) for i in range(200)}
print("ready", flush=True)
for key, value in values.items():
    if store.get(key) is None:
        store.put(key, value)
    time.sleep(0.002)
store.flush()
"""


@pytest.mark.slow
def test_two_processes_may_fill_at_once() -> None:
    both = [subprocess.Popen([sys.executable, "-c", FILL], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert right_or_absent(features(200), FeatureCache(CONFIG)) == 200


@pytest.mark.slow
def test_killed_while_filling_it_resumes(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FILL], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not list(home.glob("features/*/[0-9a-f]*.safetensors")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    values = features(200)
    assert 0 < right_or_absent(values, FeatureCache(CONFIG)) < 200
    subprocess.run([sys.executable, "-c", FILL], check=True, stdout=subprocess.DEVNULL)
    assert right_or_absent(values, FeatureCache(CONFIG)) == 200


def test_what_a_killed_process_left_is_swept_in_time() -> None:
    shard = filled(features())
    stale, fresh = shard.with_name(".old.safetensors"), shard.with_name(".new.safetensors")
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (time.time() - 7200,) * 2)
    FeatureCache(CONFIG)
    assert not stale.exists()
    assert fresh.exists()


def test_show_and_clear() -> None:
    first = filled(features())
    filled(features(3), {**CONFIG, "bands": 5})
    os.utime(first, (time.time() - 10 * 86400,) * 2)
    assert [(holding.frontend["bands"], holding.entries) for holding in holdings()] == [(5, 3), (4, 20)]
    assert clear(unused_days=5) > 0
    assert [holding.frontend["bands"] for holding in holdings()] == [5]
    clear()
    assert holdings() == []
    assert list(cache.features_folder().glob("*")) == []


def test_a_file_of_another_user_is_read_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    values = features()
    shard = filled(values)
    monkeypatch.setattr(cache.os, "utime", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    assert right_or_absent(values, FeatureCache(CONFIG)) == len(values)
    shard.write_bytes(shard.read_bytes()[:-100])
    assert right_or_absent(values, FeatureCache(CONFIG)) == 0
    assert clear() == 0
    assert shard.exists()
