"""Which icons are on their way, who wants them, and which go next. It waits for nothing and reads no clock."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from striate_service.errors import TooManyIcons
from striate_service.explain.rendering.batch import Batch, Rendering
from striate_service.explain.rendering.owners import Owner
from striate_service.explain.rendering.subject import IconSubject
from striate_service.stores.icons import IconAddress

_MOST_SAVED = 512  # icons with a quick picture that wait to go on: 0.6 MB each on this server's disk


class IconQueue:
    """Icons that are wanted: each once, however many want it.

    Args:
        batch_size: how many icons are optimized together.
        most: icons that may be on their way.
        most_per_caller: icons that the calls of one caller may wait for.
    """

    def __init__(self, batch_size: int, most: int, most_per_caller: int) -> None:
        self.batch_size = batch_size
        self.elsewhere: list[Rendering] = []
        """What another server renders."""
        self.begun: list[Batch] = []
        """Batches between two slices. Those that are being worked on are in no list."""
        self._most = most
        self._most_per_caller = most_per_caller
        self._backlog: list[Rendering] = []
        """What waits to begin, and what has a lease and a quick picture and waits to go on."""
        self._under_way: dict[tuple[IconAddress, ...], Rendering] = {}
        self._pictures = 0
        """How many icons are under way, facets counted one by one."""
        self._wishes: Counter[str] = Counter()
        """How many icons each caller waits for."""
        self._numbers = itertools.count()

    @property
    def pictures(self) -> int:
        """How many icons are on their way, facets counted one by one."""
        return self._pictures

    @property
    def batches_waiting(self) -> int:
        """How many batches what has not begun would fill."""
        return -(-sum(len(rendering.addresses) for rendering in self._backlog) // self.batch_size)

    @property
    def under_way(self) -> list[Rendering]:
        return list(self._under_way.values())

    def want(self, subjects: Sequence[IconSubject], owner: Owner) -> list[Rendering]:
        """Return a rendering each, on its way from now on, until `owner` releases it.

        Args:
            subjects: what the store does not have, the dearest first.

        Raises:
            TooManyIcons: there is no room for all of them, so none is queued.
        """
        new = {subject.addresses: subject for subject in subjects if subject.addresses not in self._under_way}
        if self._pictures + sum(map(len, new)) > self._most:
            raise TooManyIcons(
                f"{self._pictures} icons wait to be rendered, and this server takes at most {self._most} (its setting "
                "max_icons); try again in a minute, or ask for fewer"
            )
        wishes = sum(len(subject.addresses) for subject in subjects)
        if owner.caller and self._wishes[owner.caller] + wishes > self._most_per_caller:
            raise TooManyIcons(
                f"{owner.caller} waits for {self._wishes[owner.caller]} icons, and one caller may for at most "
                f"{self._most_per_caller} (the server's setting max_icons_per_caller); ask for fewer at a time"
            )
        for addresses, subject in new.items():
            rendering = self._under_way[addresses] = Rendering(subject, next(self._numbers))
            self._backlog.append(rendering)
            self._pictures += len(addresses)
        found = [self._under_way[subject.addresses] for subject in subjects]
        self.own(found, owner)
        return found

    def own(self, renderings: Sequence[Rendering], owner: Owner) -> None:
        """Say that somebody wants these too, the dearest first."""
        for place, rendering in enumerate(renderings):
            if owner not in rendering.owners:
                rendering.owners[owner] = place
                self._wishes[owner.caller] += len(rendering.addresses)

    def release(self, renderings: Iterable[Rendering], owner: Owner) -> list[Rendering]:
        """Say that somebody has gone: what nobody else wants and has not begun is forgotten, and returned."""
        for rendering in renderings:
            if rendering.owners.pop(owner, None) is not None:
                self._wishes[owner.caller] -= len(rendering.addresses)
        if self._wishes[owner.caller] <= 0:
            del self._wishes[owner.caller]  # callers come and go
        dropped = [each for each in (*self._backlog, *self.elsewhere) if not each.owners and not each.lease]
        if dropped:
            self._backlog = [rendering for rendering in self._backlog if rendering.owners or rendering.lease]
            self.elsewhere = [rendering for rendering in self.elsewhere if rendering.owners]
            self._forget(dropped)
        return dropped

    def take_unwanted(self) -> list[Rendering]:
        """Forget, and return, what nobody wants any more of that which has begun."""
        begun = itertools.chain(self._backlog, *(batch.renderings for batch in self.begun))
        unwanted = [rendering for rendering in begun if not rendering.owners]
        if unwanted:
            self._backlog = [rendering for rendering in self._backlog if rendering.owners]
            self.begun = [kept for batch in self.begun for kept in batch.wanted()]
            self._forget(unwanted)
        return unwanted

    def take_next(self) -> Batch | list[Rendering]:
        """Return what a worker should render now: a batch that has begun, or icons to begin, none if nothing waits.

        What has begun goes on, unless something waits that goes before it (`Rendering.level`).
        """
        begun = min(self.begun, key=lambda batch: batch.turn, default=None)
        saved = [rendering for rendering in self._backlog if rendering.preview]
        eligible = saved if len(saved) >= _MOST_SAVED else self._backlog
        first = min(eligible, key=lambda rendering: rendering.turn, default=None)
        if begun and not (first and first.level < begun.turn[0]):
            self.begun.remove(begun)
            return begun
        return self._choose(first) if first else []

    def previewed(self, renderings: Iterable[Rendering]) -> None:
        """Say that icons have a quick picture now, and are saved; they go on after those that have none."""
        self._backlog += renderings

    def wait_elsewhere(self, rendering: Rendering, progress: float) -> None:
        """Say that another server renders an icon."""
        rendering.progress = progress
        if rendering.owners:
            self.elsewhere.append(rendering)
        else:
            self._forget([rendering])

    def look_again(self) -> None:
        """Put what another server renders back in line: whoever takes it finds it stored, free, or still held."""
        self._backlog += self.elsewhere
        self.elsewhere = []

    def ended(self, rendering: Rendering) -> None:
        """Say that an icon is in the store, or lost."""
        if self._under_way.get(rendering.addresses) is rendering:
            del self._under_way[rendering.addresses]
            self._pictures -= len(rendering.addresses)

    def _choose(self, first: Rendering) -> list[Rendering]:
        """Take a batch's worth of one group from the backlog."""
        group = (rendering for rendering in self._backlog if rendering.kind == first.kind)
        candidates = heapq.nsmallest(self.batch_size, group, key=lambda rendering: rendering.turn)
        pictures = itertools.accumulate(len(rendering.addresses) for rendering in candidates)
        fitting = sum(1 for count in pictures if count <= self.batch_size)
        chosen = candidates[: max(1, fitting)]  # facets of one objective are never parted, however many there are
        taken = set(map(id, chosen))
        self._backlog = [rendering for rendering in self._backlog if id(rendering) not in taken]
        return chosen

    def _forget(self, renderings: Iterable[Rendering]) -> None:
        for rendering in renderings:
            self.ended(rendering)
            rendering.icons.cancel()
