import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.core.randomness import keyed, keyed_seed

parts = st.lists(st.integers(-(2**40), 2**40) | st.text(max_size=8), max_size=4)


@given(parts)
def test_same_parts_same_stream(key):
    assert np.array_equal(keyed(*key).random(5), keyed(*key).random(5))
    assert keyed_seed(*key) == keyed_seed(*key)


@given(parts, parts)
def test_other_parts_other_stream(one, other):
    same = json.dumps(one) == json.dumps(other)
    assert np.array_equal(keyed(*one).random(2), keyed(*other).random(2)) == same
    assert (keyed_seed(*one) == keyed_seed(*other)) == same


@pytest.mark.parametrize(
    ("one", "other"), [((1, 2), (12,)), (("a", "b"), ("ab",)), ((1,), ("1",)), (("a", 1), (1, "a")), ((), ("",))]
)
def test_borders_types_and_order_of_parts_count(one, other):
    assert keyed(*one).random() != keyed(*other).random()
    assert keyed_seed(*one) != keyed_seed(*other)


def test_key_is_the_sha256_of_the_parts():
    digest = hashlib.sha256(b'[0, 3, "1001_DFA_ANG_XX"]').digest()
    expected = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    assert np.array_equal(keyed(0, 3, "1001_DFA_ANG_XX").random(4), expected.random(4))


def test_another_process_draws_the_same():
    code = "from serlab.core.randomness import keyed, keyed_seed; print(keyed(1, 'é').random(), keyed_seed(1, 'é'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(keyed(1, "é").random()), str(keyed_seed(1, "é"))]


def test_numpy_integers_equal_pythons():
    assert keyed(np.int64(7), "a").random() == keyed(7, "a").random()
    with pytest.raises(TypeError):
        keyed(np.array([1.5]))


def test_neighbouring_keys_are_uncorrelated():
    draws = np.array([keyed(0, epoch, "clip").standard_normal(200) for epoch in range(200)])
    off_diagonal = np.corrcoef(draws)[~np.eye(200, dtype=bool)]
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02
    assert np.abs(off_diagonal).max() < 0.4


def test_seeds_fit_torch():
    seeds = [keyed_seed(number) for number in range(500)]
    assert len(set(seeds)) == 500
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
