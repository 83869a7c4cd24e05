from __future__ import annotations

import os
import re
from importlib.metadata import version

import pytest

COMMANDS = [
    "compare",
    "train",
    "evaluate",
    "report",
    "predict",
    "listen",
    "audit",
    "split",
    "corpora",
    "recipes",
    "protocols",
    "data verify",
]


def plain(text: str) -> str:
    """Text without colours and boxes, its blanks made one."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


def test_version(serlab):
    ended = serlab("--version")
    assert (ended.code, ended.out) == (0, version("serlab") + "\n")


def test_help_names_every_command(serlab):
    ended = serlab("--help")
    assert ended.code == 0
    for command in COMMANDS:
        assert command.split()[0] in plain(ended.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(serlab, command):
    ended = serlab(*command.split(), "-h")
    assert ended.code == 0
    text = plain(ended.out)
    assert re.search(r"Examples?:", text)
    assert f"serlab {command}" in text.split("Example", 1)[1]
    assert len(text.split("Example", 1)[0]) > 40


@pytest.mark.parametrize(
    "example",
    [
        "serlab train crema-d --recipe resnet18 --fold 3",
        "serlab train my-clips/ --recipe wav2vec2-base --set training.epochs=5",
        "serlab data verify crema-d --data CREMA-D",
        "serlab report results/crema-d/emo-superb-5 --latex",
    ],
)
def test_every_example_has_its_own_line_in_the_help(serlab, example):
    command = re.match(r"serlab (data \w+|\w+)", example)[1]
    lines = serlab(*command.split(), "-h").out.splitlines()
    assert example in [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in lines]


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_no_command_shows_the_help_and_does_nothing(serlab, arguments):
    assert "Usage" in plain("".join(vars(serlab(*arguments))[key] for key in ("out", "err")))


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (OSError(28, "No space left on device", "/somewhere"), 3, "refused /somewhere: No space left on device"),
        (PermissionError(13, "Permission denied"), 3, "Permission denied"),
    ],
)
def test_what_the_system_refuses_is_reported_in_a_sentence(serlab, monkeypatch, error, code, sentence):
    def refuse() -> None:
        raise error

    monkeypatch.setattr("serlab.corpora.descriptions", refuse)
    ended = serlab("corpora")
    assert ended.code == code
    assert sentence in ended.sentence


def test_ctrl_c_ends_with_130_and_says_that_it_can_continue(serlab, monkeypatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("serlab.corpora.descriptions", interrupt)
    ended = serlab("corpora")
    assert ended.code == 130
    assert ended.sentence == "interrupted; the same command resumes from here."
    assert ended.out == ""


@pytest.mark.parametrize(
    "command",
    ["--help", "--version", "compare --help", "corpora", "recipes", "recipes resnet18", "protocols", "cache show"],
)
def test_a_reader_that_has_gone_is_not_an_error(serlab_process, command):
    reading, writing = os.pipe()
    os.close(reading)
    ended = serlab_process(*command.split(), stdout=writing)
    os.close(writing)
    assert ended.err == ""
    assert ended.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", ""], "an argument is empty"),
        (["compare", "synthetic", "--out", ""], "--out is empty"),
        (["compare", "synthetic", "--out="], "--out is empty"),
        (["predict", "", "--model", "x"], "an argument is empty"),
    ],
)
def test_an_empty_word_is_refused(serlab, arguments, said):
    ended = serlab(*arguments)
    assert ended.code == 2
    assert said in ended.sentence


def test_set_may_be_repeated(serlab):
    ended = serlab("recipes", "resnet18", "--set", "training.epochs=3", "--set", "training.batch_size=4")
    assert ended.code == 0
