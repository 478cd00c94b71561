"""Orders that wait for a place to run at; the next one is found without looking at all the others."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import TypeVar

from faultlab.core.orders import Order, Place

At = TypeVar("At")


class Waiting:
    """Orders in their dispatch order, in a queue for each place where they begin.

    Those that sleep wait separately, because they take other slots.
    """

    def __init__(self, orders: Iterable[Order] = ()) -> None:
        self._queues: dict[tuple[bool, Place], deque[tuple[int, Order]]] = {}
        # The first entry of each queue, as a heap by arrival.
        self._firsts: dict[bool, list[tuple[int, Place]]] = {False: [], True: []}
        self._came = self._before = 0
        self._count = 0
        for order in orders:
            self.add(order)

    def __len__(self) -> int:
        return self._count

    def put_first(self, order: Order) -> None:
        """Add the order before all others."""
        queue = self._queues.setdefault((order.sleeps, order.at), deque())
        firsts = self._firsts[order.sleeps]
        if queue:
            firsts.remove((queue[0][0], order.at))
            heapq.heapify(firsts)
        self._before -= 1
        queue.appendleft((self._before, order))
        heapq.heappush(firsts, (self._before, order.at))
        self._count += 1

    def add(self, order: Order) -> None:
        """Append the order."""
        queue = self._queues.setdefault((order.sleeps, order.at), deque())
        queue.append((self._came, order))
        if len(queue) == 1:
            heapq.heappush(self._firsts[order.sleeps], (self._came, order.at))
        self._came += 1
        self._count += 1

    def take(self, free: MutableMapping[bool, int], find: Callable[[Place], At | None]) -> Iterator[tuple[Order, At]]:
        """Remove and yield the first orders that have a slot and whose place is found, with that place.

        ``free`` counts the slots of orders that don't sleep (False) and of those that do (True). A place that does not
        exist yet is looked up once, however many orders wait for it.
        """
        for sleeps, firsts in self._firsts.items():
            absent = []
            while firsts and free[sleeps] > 0:
                _, place = first = heapq.heappop(firsts)
                at = find(place)
                if at is None:
                    absent.append(first)
                    continue
                queue = self._queues[sleeps, place]
                _, order = queue.popleft()
                if queue:
                    heapq.heappush(firsts, (queue[0][0], place))
                free[sleeps] -= 1
                self._count -= 1
                yield order, at
            for first in absent:
                heapq.heappush(firsts, first)
