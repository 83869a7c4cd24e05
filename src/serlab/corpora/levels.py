"""Which level of nested folders is the label, and which is the speaker."""

from __future__ import annotations

from collections.abc import Sequence

from serlab.corpora.spelling import is_emotion, named_like_people


def read_levels(names: Sequence[str]) -> dict[str, int] | None:
    """Find the levels of folders that give label and speaker.

    Args:
        names: relative paths of the clips, with ``/``.

    Returns:
        ``label``, and ``speaker`` if there is one -> the level, from 0. None if that is not clear:
        clips are not equally deep, or deeper than one folder and not exactly one level has only
        names of emotions.

    >>> read_levels(["happy/a.wav", "sad/b.wav"])
    {'label': 0}
    >>> read_levels(["train/Actor_01/happy/a.wav", "train/Actor_02/sad/b.wav"])
    {'label': 2, 'speaker': 1}
    """
    folders = [name.split("/")[:-1] for name in names]
    depth = len(folders[0])
    if not depth or any(len(each) != depth for each in folders):
        return None
    if depth == 1:
        return {"label": 0}
    levels = [sorted({each[place] for each in folders}) for place in range(depth)]
    labels = [place for place, level in enumerate(levels) if len(level) > 1 and all(map(is_emotion, level))]
    if len(labels) != 1:
        return None
    people = [
        place
        for place, level in enumerate(levels)
        if place not in labels and len(level) > 1 and named_like_people(level)
    ]
    return {"label": labels[0]} | ({"speaker": people[0]} if len(people) == 1 else {})
