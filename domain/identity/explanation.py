"""Why two nodes are one profile, why not, and how a profile came about. Pure: a reading of what `identity.resolve` decided.

An answer is about the edges that a resolution judged: those with an end among its nodes.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from domain.identity.clusters import (Dead, Evidence, Pair, Resolution, order, pair)
from profile_store.port import MAX_NEIGHBOURS, Decision, Edge
from schemas.identifiers import namespace_of
from domain.identity.rules import Rules

Verdict = Literal["same", "together", "apart", "never_together"]
Outcome = Literal["joined", "confirmed", "left_out"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an edge joins nothing, with what stands behind it.

    `limit` is the rule's number (generic, crowded, unique, size). `decision` is what a person said (cut, apart), `pair` the two
    nodes that are to stay apart. At a limit of a profile `sides` are, for each end of the edge, what its cluster held when the
    edge's turn came (unique: its values of the namespace; size: all its nodes). `links` are the edges, taken before, that had
    joined the ends with those values, or with the two that stay apart.
    """

    dead: Dead
    limit: int | None = None
    decision: Decision | None = None
    pair: Pair | None = None
    sides: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    links: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of evidence on the way from `start` to `end`; `refusal` is None when it counts."""

    start: str
    end: str
    edge: Edge
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """The answer about two nodes.

    `together`: `steps` are the edges that joined them, the strongest way there is: no other one's weakest edge is stronger.
    `apart`: `steps` are a way over all evidence with as few dead edges as any, of these the shortest. `same` and `never_together`:
    no steps. `direct` is the evidence of the two themselves, whatever it counts.
    """

    verdict: Verdict
    steps: tuple[Step, ...] = ()
    direct: Step | None = None

    @property
    def refused(self) -> tuple[Step, ...]:
        """The steps that keep the two apart."""
        return tuple(step for step in self.steps if step.refusal is not None)


@dataclass(frozen=True, slots=True)
class Turn:
    """One edge in the order of the replay: it `joined` two clusters, `confirmed` one that stood, or was `left_out`."""

    step: Step
    outcome: Outcome


class Explainer:
    """Reads one resolution. Evidence, rules and resolution must belong together."""

    def __init__(self, evidence: Evidence, rules: Rules, resolution: Resolution) -> None:
        self._evidence, self._rules, self._resolution = evidence, rules, resolution
        self._key = order(rules)
        self._taken = _adjacent(resolution.taken)
        self._turn = {taken: number for number, taken in enumerate(resolution.taken)}

    def why(self, a: str, b: str) -> Why:
        """Why the two are one profile, or why not. Total: a node that no evidence speaks of is never together with another."""
        if a == b:
            return Why("same")
        labels = self._resolution.labels
        direct = self._step(a, b) if pair(a, b) in self._evidence.edges and (a in labels or b in labels) else None
        if labels.get(a, a) == labels.get(b, b):
            return Why("together", self._steps(_path(self._taken, a, b)), direct)
        way = self._least_dead(a, b)
        return Why("apart", self._steps(way), direct) if way else Why("never_together")

    def how(self, nodes: Collection[str]) -> tuple[Turn, ...]:
        """Every edge of these nodes in the order of the replay, the dead ones where their turn would have been."""
        mine = [item for item in self._judged() if item[0][0] in nodes or item[0][1] in nodes]
        return tuple(Turn(self._step(*key), self._outcome(key)) for key, _ in sorted(mine, key=self._key))

    def _outcome(self, key: Pair) -> Outcome:
        if key in self._resolution.dead:
            return "left_out"
        return "joined" if key in self._turn else "confirmed"

    def _judged(self) -> Iterator[tuple[Pair, Edge]]:
        labels = self._resolution.labels
        return ((key, edge) for key, edge in self._evidence.edges.items() if key[0] in labels or key[1] in labels)

    def _steps(self, way: Iterable[tuple[str, str]]) -> tuple[Step, ...]:
        return tuple(self._step(start, end) for start, end in way)

    def _step(self, start: str, end: str) -> Step:
        key = pair(start, end)
        dead = self._resolution.dead.get(key)
        return Step(start, end, self._evidence.edges[key], None if dead is None else self._refusal(start, end, dead))

    def _least_dead(self, a: str, b: str) -> list[tuple[str, str]]:
        """A way over judged edges by (dead edges, edges); empty when there is none."""
        dead = self._resolution.dead
        neighbours = _adjacent(key for key, _ in self._judged())
        best: dict[str, str] = {}
        waiting: list[tuple[int, int, str, str]] = [(0, 0, a, a)]
        while waiting:
            refusals, hops, node, before = heapq.heappop(waiting)
            if node in best:
                continue
            best[node] = before
            if node == b:
                return _walked(best, b)
            for other in neighbours.get(node, ()):
                if other not in best:
                    heapq.heappush(waiting, (refusals + (pair(node, other) in dead), hops + 1, other, node))
        return []

    def _refusal(self, start: str, end: str, dead: Dead) -> Refusal:
        if dead.reason == "cut":
            return Refusal(dead, decision=self._evidence.decisions[("cut", *pair(start, end))])
        if dead.reason == "generic":
            return Refusal(dead, limit=self._rules.neighbours[namespace_of(dead.at)])
        if dead.reason == "crowded":
            return Refusal(dead, limit=MAX_NEIGHBOURS)
        if dead.reason == "blocked":
            return Refusal(dead)
        return self._refusal_at_turn(start, end, dead)

    def _refusal_at_turn(self, start: str, end: str, dead: Dead) -> Refusal:
        """A refusal that depends on what the clusters of both ends were when the edge's turn came."""
        key = pair(start, end)
        turn = self._key((key, self._evidence.edges[key]))
        before = _adjacent(taken for taken in self._resolution.taken if self._key((taken, self._evidence.edges[taken])) < turn)
        here, there = _reached(before, start), _reached(before, end)
        if dead.reason == "apart":
            for (kind, low, high), decision in sorted(self._evidence.decisions.items()):
                met = (low in here and high in there) or (low in there and high in here)
                if kind == "apart" and decision.on and decision.operation == dead.at and met:
                    links = self._between(before, ((start, here), (end, there)), (low, high))
                    return Refusal(dead, decision=decision, pair=(low, high), links=links)
        if dead.reason == "size":
            return Refusal(dead, limit=dead.count, sides=(tuple(sorted(here)), tuple(sorted(there))))
        mine, theirs = (tuple(sorted(node for node in side if namespace_of(node) == dead.at)) for side in (here, there))
        links = self._between(before, ((start, here), (end, there)), (*mine, *theirs))
        return Refusal(dead, limit=dead.count, sides=(mine, theirs), links=links)

    def _between(
        self, before: Mapping[str, Collection[str]], ends: Iterable[tuple[str, Collection[str]]], nodes: Iterable[str]
    ) -> tuple[Pair, ...]:
        """The edges that had joined each end with those of the nodes that are on its side, in the order they were taken."""
        wanted = list(nodes)
        found = {pair(*step) for end, side in ends for node in wanted if node in side for step in _path(before, end, node)}
        return tuple(sorted(found, key=self._turn.__getitem__))


def _adjacent(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for a, b in pairs:
        found.setdefault(a, []).append(b)
        found.setdefault(b, []).append(a)
    return found


def _search(neighbours: Mapping[str, Collection[str]], start: str) -> dict[str, str]:
    """Every node that can be reached, and the one before it on a shortest way."""
    before = {start: start}
    level = [start]
    while level:
        following = []
        for node in level:
            for other in neighbours.get(node, ()):
                if other not in before:
                    before[other] = node
                    following.append(other)
        level = following
    return before


def _reached(neighbours: Mapping[str, Collection[str]], start: str) -> frozenset[str]:
    return frozenset(_search(neighbours, start))


def _path(neighbours: Mapping[str, Collection[str]], start: str, end: str) -> list[tuple[str, str]]:
    return _walked(_search(neighbours, start), end)


def _walked(before: Mapping[str, str], end: str) -> list[tuple[str, str]]:
    """The steps to `end`; empty when it was not reached."""
    steps = []
    while end in before and before[end] != end:
        steps.append((before[end], end))
        end = before[end]
    return steps[::-1]
