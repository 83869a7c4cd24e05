from __future__ import annotations

import pytest

from serlab.core import UserError
from serlab.corpora import Columns, descriptions, load_corpus


def test_known_corpora_are_in_alphabetical_order():
    assert list(descriptions()) == sorted(descriptions())


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UserError, match="did you mean 'synthetic'"):
        load_corpus("sinthetic")


def test_a_path_that_is_nearly_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "my-clips").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no corpus, folder or table my-cilps; the nearest name there is my-clips"):
        load_corpus("my-cilps")


def test_options_that_belong_to_another_kind_of_corpus(tmp_path):
    with pytest.raises(UserError, match="only the columns of your own table can be named"):
        load_corpus("crema-d", columns=Columns())
    with pytest.raises(UserError, match="leave data out"):
        load_corpus(str(tmp_path), data=tmp_path)
