"""A plan lists the remaining work of every run from the files on disk, and changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments.context import RunContext
from serlab.experiments.plan import Todo, plan
from serlab.protocols import split
from serlab.recipes import load_recipe

SVM = load_recipe("mfcc-svm")


@pytest.fixture
def context(tiny_corpus, tmp_path):
    corpus = load_corpus(str(tiny_corpus))
    return RunContext(corpus, split(corpus, "speaker-2"), tmp_path / "out")


@pytest.fixture
def finish(context):
    """Write the files of a finished run: by default table and signature of dev and test."""

    def call(spec, *, sides=("dev", "test"), table=True, model=False, **identity):
        files = context.files(spec)
        files.signature.parent.mkdir(parents=True, exist_ok=True)
        signature = {
            "identity": context.identity(spec).data() | identity,
            "corpus": {"fingerprint": context.corpus.fingerprint},
            "sides": sides,
        }
        files.signature.write_text(json.dumps(signature))
        if table:
            files.table.touch()
        if model:
            files.model.mkdir()

    return call


def todos(planned):
    return [run.todo for run in planned.runs]


def only_run(context, recipe=SVM):
    (run,) = plan(context, [recipe], folds=[1]).runs
    return run.spec


def test_all_is_left_to_do_of_an_empty_folder_and_nothing_is_written(context):
    planned = plan(context, [SVM, load_recipe("resnet18-small", precision="fp32")], seeds=[0, 1])
    assert todos(planned) == [Todo.TEST] * 8
    assert planned.waiting == tuple(run.spec for run in planned.runs)
    assert planned.done == ()
    assert [(run.spec.recipe.name, run.spec.stem) for run in planned.runs[2:6]] == [
        ("mfcc-svm", "fold2-seed0"),
        ("mfcc-svm", "fold2-seed1"),
        ("resnet18-small", "fold1-seed0"),
        ("resnet18-small", "fold1-seed1"),
    ]
    assert len({context.identity(run.spec) for run in planned.runs}) == 8
    assert not context.out.exists()


def test_what_is_named_twice_is_planned_once(context):
    assert len(plan(context, [SVM, SVM], folds=[2, 2], seeds=[0, 0]).runs) == 1


def test_only_what_is_missing_is_left_to_do(context, finish):
    for run in plan(context, [SVM], seeds=[0, 1]).runs[:3]:
        finish(run.spec)
    before = sorted(context.out.rglob("*"))
    planned = plan(context, [SVM], seeds=[0, 1])
    assert todos(planned) == [Todo.NOTHING] * 3 + [Todo.TEST]
    assert [spec.stem for spec in planned.waiting] == ["fold2-seed1"]
    assert len(planned.done) == 3
    assert sorted(context.out.rglob("*")) == before


@pytest.mark.parametrize(
    ("there", "wanted", "todo"),
    [
        ({}, {}, Todo.NOTHING),
        ({"table": False}, {}, Todo.TEST),
        ({"table": False}, {"dev_only": True}, Todo.DEV),
        ({"sides": ("dev",)}, {}, Todo.TEST),
        ({"sides": ("dev",)}, {"dev_only": True}, Todo.NOTHING),
        ({}, {"dev_only": True}, Todo.NOTHING),
        ({}, {"keep_models": True}, Todo.MODEL),
        ({}, {"keep_models": True, "dev_only": True}, Todo.MODEL),
        ({"model": True}, {"keep_models": True}, Todo.NOTHING),
        ({"model": True, "sides": ("dev",)}, {"keep_models": True}, Todo.TEST),
    ],
)
def test_what_is_left_to_do_of_a_run_that_is_there_or_was_killed(context, finish, there, wanted, todo):
    finish(only_run(context), **there)
    assert todos(plan(replace(context, **wanted), [SVM], folds=[1])) == [todo]


@pytest.mark.parametrize(("precision", "free"), [("fp32", False), ("auto", True)])
def test_another_precision_is_in_the_way_unless_the_machine_may_choose(context, finish, precision, free):
    recipe = load_recipe("resnet18-small", [f"training.precision={precision}"])
    finish(only_run(context, recipe), precision="other")
    if free:
        assert todos(plan(context, [recipe], folds=[1])) == [Todo.NOTHING]
    else:
        with pytest.raises(UserError, match=r"another configuration \(precision other, not fp32\)"):
            plan(context, [recipe], folds=[1])


def test_other_data_are_in_the_way_even_of_another_recipe(context, finish):
    finish(only_run(context))
    other = replace(context, corpus=replace(context.corpus, fingerprint="0" * 64))
    with pytest.raises(UserError, match="made with other data"):
        plan(other, [load_recipe("resnet18-small", precision="fp32")], folds=[2])


@pytest.mark.parametrize("wanted", [{"folds": [3]}, {"seeds": [-1]}, {"seeds": [2**31]}])
def test_a_fold_or_seed_that_does_not_exist(context, wanted):
    with pytest.raises(UserError, match=r"fold 3|seed"):
        plan(context, [SVM], **wanted)


def test_signatures_of_every_published_run_can_be_read():
    from serlab.experiments.signature import StoredSignature

    paths = sorted(Path(__file__).parents[2].glob("results/*/*/*/fold*-seed*.json"))
    for path in paths:
        stored = StoredSignature.read(path)
        assert stored.identity["fold"] == int(path.stem.split("-")[0].removeprefix("fold"))
        # A finished model that was tested as it is has the SHA-256 of its weights instead of a recipe's hash.
        assert len(stored.recipe) == (64 if path.parents[1].name == "as-is" else 12)
        assert stored.protocol_version
    assert paths
