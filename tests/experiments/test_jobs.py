"""Parallel runs: workers give the results of one process, and none outlives its caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serlab.core import MachineError, UserError
from serlab.experiments import jobs
from serlab.recipes import load_recipe

# Of two cores that are one: each of two workers gets one thread, on any machine.
TWO = "from serlab.experiments import jobs; jobs.cores = lambda core=jobs.cores()[0]: [core, core]\n"
SLEEPERS = """
from serlab.core import progress
progress.show()
code = "import time; from serlab.core.progress import say; say('asleep'); time.sleep(600)"
jobs.spread(exec, [(f"[{n}/3] sleeper", (code,)) for n in (1, 2, 3)], 2)
"""
COMPARE = "import sys; from serlab.cli import main; main()"


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    core = jobs.cores()[0]
    monkeypatch.setattr(jobs, "cores", lambda: [core, core])
    return [core, core]


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script on two cores, in a session of its own, as a terminal does."""
    started = []

    def call(text: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", TWO + text, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def named(titles: str, *arguments: object) -> list[tuple[str, tuple[object, ...]]]:
    return [(title, arguments) for title in titles.split()]


def until(ready: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


# --- how many
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [-1, 0, 3])
@pytest.mark.usefixtures("two_cores")
def test_more_jobs_than_cores_or_fewer_than_one_are_refused(number: int) -> None:
    with pytest.raises(UserError, match=f"jobs={number} is not within 1 to 2"):
        jobs.check_jobs(number)
    jobs.check_jobs(1)
    jobs.check_jobs(2)


@pytest.mark.usefixtures("two_cores")
def test_jobs_under_torchrun_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="torchrun has started 4"):
        jobs.check_jobs(2)
    jobs.check_jobs(1)


def test_cores_are_those_that_this_process_may_use() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system pins no process to cores")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
        assert jobs.cores() == [max(before)]
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("two_cores")
def test_the_command_refuses_before_it_looks_for_the_corpus(serlab, tmp_path: Path) -> None:
    ended = serlab("compare", tmp_path / "absent.csv", "--jobs", "3")
    assert ended.code == 2
    assert ended.sentence == "--jobs 3 is not within 1 to 2, the number of cores that serlab may use here."


# --- what workers do
# ----------------------------------------------------------------------------------------------


def test_every_call_is_done_once_on_its_share_and_its_lines_have_its_title(
    two_cores: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import os; from serlab.core.progress import say; print('stray'); "
        "say(f\"{len(os.sched_getaffinity(0))} {os.environ['OMP_NUM_THREADS']}\")"
    )
    if not hasattr(os, "sched_getaffinity"):
        code = code.replace("len(os.sched_getaffinity(0))", "1")
    jobs.spread(exec, named("a b c d e", code), 2)
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(line for line in err.splitlines() if line != "stray") == [f"{title}: 1 1" for title in "abcde"]


@pytest.mark.usefixtures("two_cores")
def test_the_first_failure_ends_what_runs_and_begins_nothing_more(capfd: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    calls = [
        *named("sleeper", "import time; time.sleep(600)"),
        *named("loser", "from serlab.recipes import load_recipe; load_recipe('none')"),
        *named("late", "from serlab.core.progress import say; say('begun')"),
    ]
    with pytest.raises(UserError, match="unknown recipe 'none'"):
        jobs.spread(exec, calls, 2)
    assert "begun" not in capfd.readouterr().err
    assert time.monotonic() - begun < 60


@pytest.mark.usefixtures("two_cores")
def test_an_unexpected_failure_says_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        jobs.spread(int, named("first", "x"), 2)
    assert caught.value.__notes__[0].startswith("In the process of first:\nTraceback")


@pytest.mark.parametrize(
    ("function", "number", "sentence"),
    [
        (signal.raise_signal, signal.SIGKILL, r"the system ended its process with SIGKILL \(usually out of memory"),
        (signal.raise_signal, signal.SIGTERM, "the system ended its process with SIGTERM; the same command resumes"),
        (os._exit, 4, "its process ended with exit code 4"),
    ],
)
@pytest.mark.usefixtures("two_cores")
def test_a_worker_that_is_gone_is_reported_by_its_run(
    function: Callable[..., None], number: int, sentence: str
) -> None:
    with pytest.raises(MachineError, match=rf"^\[1/1\] svm: {sentence}"):
        jobs.spread(function, [("[1/1] svm", (number,))], 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_caller(start: Start, number: int) -> None:
    process = start(SLEEPERS)
    assert process.stderr is not None
    said = sorted(process.stderr.readline() for _ in range(2))
    assert said == ["[1/3] sleeper: asleep\n", "[2/3] sleeper: asleep\n"]
    os.kill(process.pid, number)
    # The workers hold the same standard error: it ends when the last of them has ended.
    _, err = process.communicate(timeout=30)
    assert process.returncode == -number
    assert "[3/3]" not in err


# --- comparisons
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_two_jobs_give_the_tables_of_one(compare, tiny_comparison, tiny_recipes, capfd) -> None:
    import pandas as pd

    together = compare(*tiny_recipes.values(), "mfcc-svm", jobs=2, keep_models=True)
    assert (together.done, together.trained, len(together.models)) == (0, 3, 3)
    tables = {path.relative_to(together.folder): path for path in together.folder.rglob("fold*.parquet")}
    assert len(tables) == 3
    for name, path in tables.items():
        alone = pd.read_parquet(tiny_comparison.folder / name)
        pd.testing.assert_frame_equal(pd.read_parquet(path), alone, check_exact=True)
    assert len((together.folder.parent.parent / "ledger.jsonl").read_text().splitlines()) == 3
    assert not list(together.folder.rglob(".*"))
    audited, *lines = capfd.readouterr().err.splitlines()
    assert audited.startswith("The leak audit found")
    assert {line[:5] for line in lines} == {"[1/3]", "[2/3]", "[3/3]"}
    assert len([line for line in lines if "done, training UAR" in line]) == 3
    assert compare(*tiny_recipes.values(), "mfcc-svm", jobs=2, keep_models=True).trained == 0


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_a_runs_error_is_the_commands(serlab, tiny_corpus, tiny_recipes, tmp_path) -> None:
    ended = serlab(
        "compare", tiny_corpus, "--recipes", tiny_recipes["tiny-resnet"], "--protocol", "speaker-2", "--jobs", "2",
        "--set", "training.learning_rate=1e30", "--set", "training.epochs=3", "--set", "training.max_grad_norm=1e30",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 1
    assert "loss is not finite" in ended.sentence
    assert ended.out == ""
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.slow
def test_interrupted_with_two_jobs_and_resumed_with_one(
    start: Start, compare, tiny_corpus: Path, tiny_recipes: dict[str, str], tmp_path: Path, capfd
) -> None:
    epochs = "training.epochs=60"
    out = tmp_path / "stopped"
    process = start(
        COMPARE, "compare", tiny_corpus, "--recipes", tiny_recipes["tiny-resnet"], "--protocol", "speaker-2",
        "--folds", "1", "--seeds", "0,1,2", "--set", epochs, "--set", "training.batch_size=4", "--out", out,
        "--jobs", "2",
    )  # fmt: skip
    until(lambda: len(list(out.rglob(".*.work/epoch*/state.json"))) > 1, process)
    os.killpg(process.pid, signal.SIGINT)
    printed, err = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert err.splitlines()[-1] == "serlab: interrupted; the same command resumes from here."
    assert "Traceback" not in err
    assert not list(out.rglob("fold*-seed*.parquet"))
    recipe = load_recipe(tiny_recipes["tiny-resnet"], [epochs, "training.batch_size=4"])
    assert compare(recipe, seeds=[0], out=out).trained == 1
    assert "resuming an interrupted run" in capfd.readouterr().err
