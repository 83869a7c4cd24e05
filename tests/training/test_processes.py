"""Several processes: one leads, all train, and results equal those of one process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from serlab.core import progress
from serlab.core.ranks import rank, world
from serlab.experiments import compare as comparison
from serlab.training import processes

Torchrun = Callable[..., subprocess.CompletedProcess[str]]

# No dropout, LayerDrop or masks: each process draws its own.
STILL = dict.fromkeys(
    ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout", "layerdrop"),
    0.0,
)
STEPS = """
import os, signal, sys
from serlab.core import UserError
from serlab.core.ranks import rank
from serlab.training import processes

def gather(factor):
    assert processes.share() == (rank(), 2)
    return processes.exchange(factor * (rank() + 1))

def fail():
    if rank() == 1:
        raise UserError("process 1 has no such file.")
    return processes.exchange("never seen")

def vanish():
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return processes.exchange("never seen")

@processes.led
def command(way):
    assert rank() == 0
    print("gathered", processes.everywhere(gather, 10), flush=True)
    try:
        processes.everywhere(fail)
    except UserError as error:
        print("failed:", error, flush=True)
    print("gathered", processes.everywhere(gather, 3), flush=True)
    if way == "exit":
        raise SystemExit(3)
    if way == "vanish":
        try:
            processes.everywhere(vanish)
        except Exception as error:
            print("lost:", type(error).__mro__[1].__name__, error, flush=True)
            raise
    return "the result"

# In one piece, so that the processes' lines do not mix.
os.write(1, f"{rank()} ends with {command(sys.argv[1])}\\n".encode())
"""
TALK = """
import atexit, os
from pathlib import Path

def left():
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    os.write(1, f"threads: {sum('gloo' in name for name in names)}\\n".encode())

atexit.register(left)  # at the very end
from serlab.training import processes

def talk():
    from torch import nn
    nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
    for _ in range(30):
        processes.exchange("word" * 50_000)

processes.led(lambda: processes.everywhere(talk))()
"""
COMPARE = """
import os, sys
import serlab
from serlab.core import UserError, progress
from serlab.core.ranks import rank
from serlab.training import fit

table, recipe, out, fails_after = sys.argv[1:]
score, scored = fit.uar, []
progress.show()

def uar(matrix):
    scored.append(matrix)
    if rank() == 1 and len(scored) > int(fails_after):
        raise UserError("process 1 fails in scoring.")
    return score(matrix)

fit.uar = uar
try:
    found = serlab.compare(table, [recipe], protocol="speaker-2", folds=[1], out=out, keep_models=True)
except UserError as error:
    told = f"stops: {error}"
else:
    told = f"has {found.report}"
# In one piece, so that the processes' lines do not mix.
os.write(1, f"{rank()} {told}\\n".encode())
"""


@pytest.fixture
def torchrun() -> Torchrun:
    """Run a script or module in two processes, each on one thread."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*line, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300
        )

    return call


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def still(tiny_recipes: dict[str, str], tmp_path: Path) -> str:
    """Path of a recipe like ``tiny-wav2vec2`` without randomness."""
    recipe = yaml.safe_load(Path(tiny_recipes["tiny-wav2vec2"]).read_text(encoding="utf-8"))
    recipe["model"]["config"] |= {**STILL, "apply_spec_augment": False}
    recipe["augmentation"] = {"mixup": 0.2}
    recipe["training"] = {
        "epochs": 4, "batch_size": 17, "learning_rate": 1.0e-3, "label_smoothing": 0.1, "precision": "fp32"
    }  # fmt: skip
    path = tmp_path / "still.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return str(path)


def run_of(out: Path) -> Path:
    (path,) = out.rglob("fold1-seed0.json")
    return path


def check_equal(one: Path, other: Path, tolerance: float) -> None:
    """Weights, logits and the history of two runs are equal."""
    ours, theirs = run_of(one), run_of(other)
    histories = [json.loads(path.read_text())["training"] for path in (ours, theirs)]
    for first, second in zip(*(history["epochs"] for history in histories), strict=True):
        assert first == pytest.approx(second, abs=tolerance)
    assert histories[0]["best_epoch"] == histories[1]["best_epoch"]
    tables = [pd.read_parquet(path.with_suffix(".parquet")).filter(like="logit_") for path in (ours, theirs)]
    np.testing.assert_allclose(*tables, atol=tolerance)
    weights = [load_file(path.with_suffix("") / "model.safetensors") for path in (ours, theirs)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        # The softmax over keys does not see their bias: its gradient is rounding, which Adam makes
        # large.
        if not name.endswith("k_proj.bias"):
            np.testing.assert_allclose(tensor, weights[1][name], atol=tolerance, err_msg=name)


def test_one_process_alone_is_all_there_is() -> None:
    assert (rank(), world(), processes.share()) == (0, 1, (0, 1))
    assert processes.led(max)(3, 5) == processes.everywhere(max, 3, 5) == 5
    assert processes.exchange("mine") == ["mine"]


def test_only_what_torchrun_sets_makes_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (rank(), world()) == (0, 1)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert (rank(), world()) == (3, 4)


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    for number in ("1", "0"):
        monkeypatch.setenv("RANK", number)
        progress.say(f"process {number}")
    assert capsys.readouterr().err == "process 0\n"


@pytest.mark.slow
def test_the_first_leads_all_exchange_and_a_failure_is_everyones(torchrun: Torchrun, tmp_path: Path) -> None:
    ended = torchrun(script(tmp_path, STEPS), "end")
    assert ended.returncode == 0, ended.stderr
    *steps, one, other = ended.stdout.splitlines()
    assert steps == ["gathered [10, 20]", "failed: process 1 has no such file.", "gathered [3, 6]"]
    assert {one, other} == {"0 ends with the result", "1 ends with the result"}


@pytest.mark.slow
def test_the_first_processs_exit_code_is_reported(torchrun: Torchrun, tmp_path: Path) -> None:
    ended = torchrun(script(tmp_path, STEPS), "exit")
    assert ended.returncode == 1
    assert "exitcode  : 3" in ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list a process's threads")
def test_no_thread_that_sends_outlives_the_command(torchrun: Torchrun, tmp_path: Path) -> None:
    # One that let go of a tensor while Python ended aborted the process, more often than not after
    # this much talk.
    ended = torchrun(script(tmp_path, TALK))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["threads: 0"] * 2


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_with_a_sentence(tmp_path: Path) -> None:
    # Without torchrun, which ends the others too, and may be the faster one.
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    both = [
        subprocess.Popen(
            [sys.executable, script(tmp_path, STEPS), "vanish"],
            env={**os.environ, **where, "RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert "lost: MachineError another process of this command has ended" in told[0]
    assert [process.returncode for process in both] == [1, -signal.SIGKILL]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_what_one_does(torchrun: Torchrun, tiny_corpus: Path, still: str, tmp_path: Path) -> None:
    # 18 clips in batches of 17 and 1: uneven shares, and a process without a clip.
    alone, together = tmp_path / "alone", tmp_path / "together"
    comparison.compare(str(tiny_corpus), [still], protocol="speaker-2", folds=[1], out=alone, keep_models=True)

    command = ("train", tiny_corpus, "--recipe", still, "--protocol", "speaker-2", "--out", together)
    ended = torchrun("-m", "serlab", *command)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{run_of(together).with_suffix('')}\n"
    assert "Warning" not in ended.stderr
    assert len([line for line in ended.stderr.splitlines() if "done, training UAR" in line]) == 1
    assert len((together / "ledger.jsonl").read_text().splitlines()) == 1
    assert json.loads(run_of(together).read_text())["machine"]["processes"] == 2
    check_equal(alone, together, 1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_average_and_learn_from_a_teacher_as_one_does(
    torchrun: Torchrun, tiny_corpus: Path, still: str, tmp_path: Path
) -> None:
    recipe = yaml.safe_load(Path(still).read_text("utf-8"))
    recipe["training"] |= {"ema": 0.8, "teacher": {"recipe": "mfcc-svm"}}
    taught, alone, together = tmp_path / "taught.yaml", tmp_path / "alone", tmp_path / "together"
    taught.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    comparison.compare(str(tiny_corpus), [str(taught)], protocol="speaker-2", folds=[1], out=alone, keep_models=True)

    command = ("train", tiny_corpus, "--recipe", taught, "--protocol", "speaker-2", "--out", together)
    ended = torchrun("-m", "serlab", *command)

    assert ended.returncode == 0, ended.stderr
    assert len([line for line in ended.stderr.splitlines() if "it is trained first" in line]) == 1
    check_equal(alone, together, 1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_failure_in_one_process_stops_training_which_resumes_later(
    torchrun: Torchrun, tiny_corpus: Path, still: str, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    comparison.compare(str(tiny_corpus), [still], protocol="speaker-2", folds=[1], out=alone, keep_models=True)
    run = (script(tmp_path, COMPARE), tiny_corpus, still, together)

    stopped = torchrun(*run, 2)
    resumed = torchrun(*run, 1000)

    assert stopped.returncode == 0, stopped.stderr
    assert sorted(stopped.stdout.splitlines()) == [f"{n} stops: process 1 fails in scoring." for n in (0, 1)]
    assert "resuming an interrupted run" in resumed.stderr
    assert len(resumed.stdout.splitlines()) == 2
    check_equal(alone, together, 1e-5)
