"""Groups of one layer that have the same name are told apart by what is true of one of them alone.

"floppy ear" and "floppy ear, with fur"; or "golden retriever" and "golden retriever (channel 412)".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from striate_service.explain.labels import Label


def told_apart(
    labels: Sequence[Label], channels: Sequence[Sequence[tuple[int, str]]], *, own: Sequence[bool]
) -> list[Label]:
    """Return labels of which no two have the same text, unless it is empty.

    Of groups with one name the first keeps it as it is; before it, one that somebody has named itself.

    Args:
        labels: K, one a group.
        channels: of each group the strongest channels, strongest first, with the names that they
            lend to it, "" for none.
        own: whether a group's label was given to the group itself, and not to a channel or a class.
    """
    taken = {label.text for label in labels}
    alike: dict[str, list[int]] = {}
    for number in sorted(range(len(labels)), key=lambda number: not own[number]):
        if labels[number].text:
            alike.setdefault(labels[number].text, []).append(number)
    found = list(labels)
    for text, (_, *others) in alike.items():
        for number in others:
            rest = [each for other in alike[text] if other != number for each in channels[other]]
            distinct = next(each for each in _qualified(text, channels[number], rest) if each not in taken)
            taken.add(distinct)
            found[number] = replace(labels[number], text=distinct)
    return found


def _qualified(text: str, own: Sequence[tuple[int, str]], rest: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield names for a group, best first: by a name that only its channels have, by a channel that only it lists, or
    else, where groups list the same, by number.

    Args:
        own: the group's channels.
        rest: those of the other groups of that name.
    """
    names, numbers = {name for _, name in rest}, {channel for channel, _ in rest}
    yield from (f"{text}, with {name}" for _, name in own if name not in ("", text) and name not in names)
    yield from (f"{text} (channel {channel})" for channel, _ in own if channel not in numbers)
    yield from (f"{text} ({number})" for number in count(2))
