"""Groups with one name are told apart by what is true of one of them alone."""

from __future__ import annotations

import pytest
from striate_service.explain.distinct_names import told_apart
from striate_service.explain.labels import NO_LABEL, Label
from striate_service.stores.labels import LabelSource

EARS = Label("floppy ears", LabelSource.PERSON, 0.5, "ann")


def names(labels: list[Label], channels: list[list[tuple[int, str]]], own: list[bool] | None = None) -> list[str]:
    return [label.text for label in told_apart(labels, channels, own=own or [False] * len(labels))]


@pytest.mark.parametrize(
    ("channels", "second"),
    [
        ([[(1, "floppy ears"), (2, "")], [(1, "floppy ears"), (3, "fur")]], "floppy ears, with fur"),
        ([[(1, "floppy ears"), (3, "fur")], [(1, "floppy ears"), (3, "fur")]], "floppy ears (2)"),
        ([[(1, "floppy ears"), (3, "fur")], [(1, "floppy ears"), (3, "fur"), (7, "")]], "floppy ears (channel 7)"),
        ([[(1, "floppy ears")], [(8, "floppy ears")]], "floppy ears (channel 8)"),
        ([[], []], "floppy ears (2)"),
    ],
)
def test_the_second_of_two_says_what_only_it_has(channels: list[list[tuple[int, str]]], second: str) -> None:
    assert names([EARS, EARS], channels) == ["floppy ears", second]


def test_who_named_a_group_finds_it_under_that_name() -> None:
    assert names([EARS, EARS], [[(1, "")], [(2, "")]], own=[False, True]) == ["floppy ears (channel 1)", "floppy ears"]


def test_a_longer_name_is_nobody_elses() -> None:
    other = Label("floppy ears, with fur", LabelSource.PERSON)
    told = told_apart([EARS, EARS, other], [[(1, "")], [(2, "fur")], [(3, "")]], own=[False] * 3)
    assert [label.text for label in told] == ["floppy ears", "floppy ears (channel 2)", "floppy ears, with fur"]
    assert (told[1].source, told[1].score, told[1].author) == (EARS.source, EARS.score, EARS.author)


def test_groups_without_a_name_stay_without() -> None:
    assert names([NO_LABEL, NO_LABEL], [[(1, "")], [(1, "")]]) == ["", ""]
