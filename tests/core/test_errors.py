from __future__ import annotations

import pickle

import pytest

from serlab.audio import AudioError
from serlab.core import FindingsError, MachineError, SerlabError, UserError, argument, as_options, setting, unknown


def test_each_kind_of_error_ends_the_command_line_with_its_own_code():
    assert (FindingsError.exit_code, UserError.exit_code, MachineError.exit_code) == (1, 2, 3)
    for kind in (FindingsError, UserError, MachineError):
        assert issubclass(kind, SerlabError)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("resnet81", "resnet18"), ("wav2vec-base", "wav2vec2-base"), ("mfcc", "mfcc-svm")],
)
def test_unknown_name_brings_the_nearest_real_one(name, nearest):
    error = unknown("recipe", name, ["wav2vec2-base", "resnet18", "mfcc-svm"])
    assert isinstance(error, UserError)
    assert f"did you mean {nearest!r}?" in str(error)


def test_unknown_name_that_is_near_to_nothing_lists_all():
    text = str(unknown("corpus", "zzz", ["synthetic", "crema-d"]))
    assert text == "unknown corpus 'zzz'. Known: crema-d, synthetic."


@pytest.mark.parametrize("kind", [FindingsError, MachineError, UserError])
def test_an_error_of_a_worker_process_keeps_its_class_and_its_parameters(kind):
    error = pickle.loads(pickle.dumps(kind(f"{argument('jobs', 9)} is too many.")))
    assert (type(error), str(error), as_options(error)) == (kind, "jobs=9 is too many.", "--jobs 9 is too many.")


def test_the_repr_has_no_private_marks():
    error = UserError(f"{argument('jobs', 9)} is too many; see {setting('training.epochs')}.")
    assert repr(error) == "UserError('jobs=9 is too many; see training.epochs.')"
    assert repr(AudioError(None, "silent")) == "AudioError(None, 'silent')"
