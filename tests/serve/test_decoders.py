"""Decoder processes may crash, hang, be killed or run out of memory; the pool goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab.audio import Audio
from serlab.serve import decoder, decoders
from serlab.serve.faults import RefusedError
from serlab.serve.limits import Limits

from .conftest import sound

FILE = sound(0.5)
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time are Linux's")


def with_pool(work, **limits):
    """Run ``work`` on a pool."""

    async def run():
        pool = decoders.Decoders(Limits(**{"decoders": 1, **limits}))
        await pool.start()
        try:
            return await work(pool)
        finally:
            await pool.stop()

    return asyncio.run(run())


def refusal(work, **limits):
    async def run(pool):
        with pytest.raises(RefusedError) as refused:
            await work(pool)
        assert (await pool.decode(FILE)).seconds == 0.5  # The pool goes on.
        return refused.value

    return with_pool(run, **limits)


def test_samples_are_those_of_the_file():
    found = with_pool(lambda pool: pool.decode(FILE))
    np.testing.assert_array_equal(found.samples, Audio.from_file(BytesIO(FILE)).samples)
    assert (found.rate, found.channels) == (16000, 1)


def test_a_killed_decoder_is_replaced_before_anybody_notices():
    async def work(pool):
        (before,) = pool.pids
        os.kill(before, signal.SIGKILL)
        found = await pool.decode(FILE)
        assert pool.pids != [before]
        assert pool.died == 1
        return found.seconds

    assert with_pool(work) == 0.5


@linux
def test_a_decoder_killed_at_work_is_tried_once_more():
    async def work(pool):
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        task = asyncio.create_task(pool.decode(FILE))
        await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        return (await task).seconds, pool.died

    assert with_pool(work) == (0.5, 1)


@linux
def test_a_decoder_knows_no_secrets(monkeypatch):
    monkeypatch.setenv("SERLAB_TOKEN", "sesame")

    async def work(pool):
        await pool.decode(FILE)
        return Path(f"/proc/{pool.pids[0]}/environ").read_bytes()

    assert b"sesame" not in with_pool(work)


@pytest.fixture
def crashing(monkeypatch):
    """A file that crashes its decoder: the pool starts this program instead."""
    program = (
        "import os, sys, time; from serlab.serve import decoder; old, opened = decoder.decode, decoder.opened\n"
        "def new(content, most):\n"
        "    if content == b'crash': os.abort()\n"
        "    if content == b'hang': time.sleep(60)\n"
        "    decoder.opened = (lambda _: bytearray(10**10)) if content == b'memory' else opened\n"
        "    if content == b'lie': os.write(1, b'x'); return {'samples': -1}, __import__('numpy').zeros(0)\n"
        "    return old(content, most)\n"
        "decoder.decode = new; decoder.main()"
    )
    start = asyncio.create_subprocess_exec

    def other(python, *words, **how):
        return start(python, "-c", program, *words[2:], **how)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", other)


def test_a_file_that_crashes_every_decoder_cannot_be_read(crashing):
    refused = refusal(lambda pool: pool.decode(b"crash"))
    assert (refused.code, refused.sentence) == (400, "the recording cannot be read: the decoder crashes on it.")


@linux
def test_a_file_that_takes_too_long_is_given_up(crashing):
    refused = refusal(lambda pool: pool.decode(b"hang"), decode_seconds=0.5)
    assert (refused.code, refused.sentence) == (400, "the recording cannot be read: decoding it takes more than 0.5 s.")


@linux
def test_a_file_that_takes_too_much_memory_is_refused(crashing):
    refused = refusal(lambda pool: pool.decode(b"memory"))
    assert refused.code == 413
    assert refused.sentence == "the recording cannot be read: decoding it takes more memory than allowed."


def test_a_request_that_is_given_up_frees_its_decoder(crashing):
    async def work(pool):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pool.decode(b"hang")
        return (await pool.decode(FILE)).seconds

    assert with_pool(work) == 0.5


@pytest.mark.parametrize(("seconds", "code"), [(31, 413), (29, None)])
def test_the_longest_recording(seconds, code):
    said, samples = decoder.decode(sound(seconds, 8000), 30)
    assert said.get("code") == code
    assert len(samples) == (0 if code else seconds * 16000)


def test_a_long_recording_equals_the_file_s():
    stream = BytesIO()
    soundfile.write(stream, np.random.default_rng(0).normal(0, 0.1, (44100 * 32, 2)), 44100, format="WAV")
    _, samples = decoder.decode(stream.getvalue(), 600)
    stream.seek(0)
    whole = Audio.from_file(stream)
    np.testing.assert_array_equal(samples, whole.samples)


@linux
def test_a_decoder_can_write_no_files(tmp_path):
    program = (
        "import sys; from pathlib import Path; from serlab.serve.decoder import restrict\n"
        "Path(sys.argv[1]).write_text('before'); restrict(2000); Path(sys.argv[2]).write_text('after')"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path / "a", tmp_path / "b"], stderr=subprocess.DEVNULL)
    assert ended.returncode != 0
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("before", "")
