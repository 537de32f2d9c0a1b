"""Where questions about identity are answered and decisions are taken: what the command and the API have in common."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ops.identity import decisions
from ops.identity.audit import History, Operation
from ops.identity.clusters import Known, know, know_between
from ops.identity.references import Named, parse, values
from ops.identity.to_json import shape_decided, shape_how, shape_why
from domain.identity.explanation import (Refusal, Step, Turn, Why)
from domain.identity.clusters import pair
from profile_store.port import Place, ProfileStore
from runtime.bus.port import Outgoing, Producer
from runtime.clock import Clock
from runtime.errors import Invalid, Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import DecidedAction
from domain.identity.rules import Rules

LINKS: Final = Place("links", 0, 1)
LOOK_S: Final = 0.05
FRESH_MS: Final = 60_000
"""An operation this young may not be in ClickHouse yet."""


@dataclass(frozen=True, slots=True)
class Desk:
    """`rules` are those that are live now; while they are not yet known (`rules_known`) the default ones stand in, answers say so,
    and nothing is decided. `wait_s` bounds how long a decision is waited for, and an operation looked for."""

    settings: Settings
    store: ProfileStore
    clock: Clock
    rules: Callable[[], Rules]
    history: History
    producer: Callable[[], Awaitable[Producer]]
    wait_s: float = 20.0
    rules_known: Callable[[], bool] = lambda: True

    async def why(self, a: str, b: str) -> dict[str, Any]:
        """Why the two are one profile, or why not. Raises Invalid for what is no identifier, Transient when Redis is away."""
        first, second = parse(a, self.settings, "a"), parse(b, self.settings, "b")
        known, why = await know_between(self.store, self.rules(), first.node, second.node)
        return await self._answer(known, why, first, second)

    async def _answer(self, known: Known, why: Why, first: Named, second: Named) -> dict[str, Any]:
        steps = [*why.steps, *([why.direct] if why.direct is not None else [])]
        ends = (first.node, second.node)
        stored = await values(self.store, known.evidence, {*ends} | _nodes(steps))
        seen = {node for node in ends if known.seen(node) or node in stored}
        told = await self.history.tell(known.evidence, [_key(step) for step in steps], _operations(steps))
        shaped = shape_why(known, why, ends, seen, {**stored, **first.names, **second.names}, told)
        return {**shaped, "rules_known": self.rules_known()}

    async def how(self, profile: str) -> dict[str, Any]:
        """How a profile came about. Raises Invalid for what is no identifier or is not known."""
        one = parse(profile, self.settings, "profile")
        known = await self._known(one)
        profile_id, nodes = known.resolution.labels[one.node], known.members(one.node)
        turns: Sequence[Turn] = known.explainer.how(nodes)
        steps = [turn.step for turn in turns]
        stored = await values(self.store, known.evidence, nodes | _nodes(steps))
        told = await self.history.tell(known.evidence, [_key(step) for step in steps], _operations(steps))
        return {**shape_how(profile_id, known, turns, {**stored, **one.names}, told), "rules_known": self.rules_known()}

    async def cut(self, a: str, b: str, *, by: str, reason: str) -> dict[str, Any]:
        """Take the direct evidence of two identifiers away. Raises Invalid when there is none, Transient when a part is away.

        Says the operation, what the profiles are then, and whether the two are still together by another way.
        """
        who = decisions.signed(by, reason)
        first, second = parse(a, self.settings, "a"), parse(b, self.settings, "b")
        known = await know(self.store, self.rules(), [first.node, second.node])
        for path, one in (("a", first), ("b", second)):
            await self._must_be_seen(known, one, path)
        pairs = decisions.cut(known, first.node, second.node)
        done = await self._decide("cut", pairs, known, who, {first.node, second.node})
        with suppress(Transient):  # it is decided: that must be told, whatever goes away after it
            after, why = await know_between(self.store, self.rules(), first.node, second.node)
            done["why"] = await self._answer(after, why, first, second)
        return done

    async def split(
        self, profile: str, *, keep: Collection[str] = (), move: Collection[str] = (), by: str, reason: str
    ) -> dict[str, Any]:
        """Take a profile apart: the identifiers that move against all others. Either those or the ones that stay are named.

        Raises Invalid for parts that are none, Transient when a part is away. `mixed` are the profiles that still hold
        identifiers of both parts, by evidence that lies outside of the profile.
        """
        who = decisions.signed(by, reason)
        if bool(keep) == bool(move):
            raise Invalid("name either the identifiers that stay (keep) or those that move", path="identifiers", reason="malformed")
        one = parse(profile, self.settings, "profile")
        said = {parse(text, self.settings, "identifiers").node for text in keep or move}
        known = await self._known(one)
        members = known.members(one.node)
        if not said <= members:
            raise Invalid(
                "an identifier is not in the profile: see `onefold identity how`", path="identifiers", reason="not_a_member"
            )
        moved = said if move else members - said
        done = await self._decide("split", decisions.split(known, members, moved), known, who, members)
        return {**done, "mixed": [entry["profile_id"] for entry in done["profiles"] if _mixed(entry, members - moved, moved)]}

    async def undo(self, operation: str, *, by: str, reason: str) -> dict[str, Any]:
        """Take an operation back, where nothing was decided since. Raises Invalid, Transient when ClickHouse is away."""
        who = decisions.signed(by, reason)
        found = await self._operation(operation)
        nodes = {node for _, a, b in found.pairs for node in (a, b)}
        known = await know(self.store, self.rules(), nodes)
        pairs = decisions.undo(found, known.evidence.decisions)
        return await self._decide("undo", pairs, known, who, nodes, on=not found.on, of=found.name)

    async def _known(self, one: Named) -> Known:
        known = await know(self.store, self.rules(), [one.node])
        await self._must_be_seen(known, one, "profile")
        return known

    async def _must_be_seen(self, known: Known, one: Named, path: str) -> None:
        if not known.seen(one.node) and (await self.store.documents("fragment", [one.node]))[one.node].data is None:
            raise Invalid(f"{path}: nobody is known by this identifier", path=path, reason="unknown_identifier")

    async def _operation(self, name: str) -> Operation:
        """An operation from the audit; one that was said a moment ago is waited for."""
        at_ms = decisions.operation_ms(name)
        if at_ms is None:
            raise Invalid("no operation has such a name: see `onefold identity operations`", path="operation", reason="malformed")
        looks = int(self.wait_s / LOOK_S) if self.clock.now_ms() - at_ms < FRESH_MS else 0
        while (found := await self.history.operation(name)) is None and looks > 0:
            looks -= 1
            await asyncio.sleep(LOOK_S)
        if found is None:
            raise Invalid("no such operation: see `onefold identity operations`", path="operation", reason="unknown_operation")
        return found

    async def _decide(
        self,
        action: DecidedAction,
        pairs: Sequence[decisions.Decision],
        known: Known,
        who: decisions.Signed,
        nodes: Collection[str],
        *,
        on: bool = True,
        of: str = "",
    ) -> dict[str, Any]:
        """Say a decision, wait until the link agent has come past it, and read what became of the nodes."""
        if not self.rules_known():
            raise Transient("the identity rules that hold are not known here yet: try again")
        noise = secrets.randbits(decisions.NOISE_BITS)
        held = known.evidence.decisions
        said = decisions.record(action, pairs, held, who, now_ms=self.clock.now_ms(), noise=noise, on=on, of=of)
        producer = await self.producer()
        ((_, offset),) = await producer.send([Outgoing(self.settings.topic("links"), encode(said))])
        try:
            applied = await self._applied(offset)
            labels = await self.store.labels(sorted(nodes))
            profiles = await self.store.members(sorted({label.profile_id for label in labels.values()}))
            every = {node for entry in profiles.values() for node in entry.nodes} | {node for key in pairs for node in key[1:]}
            return shape_decided(said, applied, profiles, await values(self.store, known.evidence, every))
        except Transient:  # it is decided: that must be told, whatever goes away after it
            return shape_decided(said, False, {}, {})

    async def _applied(self, offset: int) -> bool:
        """Whether the link agent has come past an offset, in time."""
        for _ in range(max(1, int(self.wait_s / LOOK_S))):
            if ((await self.store.standing(LINKS)).position or 0) > offset:
                return True
            await asyncio.sleep(LOOK_S)
        return False


def _mixed(profile: dict[str, Any], kept: Collection[str], moved: Collection[str]) -> bool:
    """Whether a profile holds identifiers of both parts."""
    nodes = {one["node"] for one in profile["identifiers"]}
    return not nodes.isdisjoint(kept) and not nodes.isdisjoint(moved)


def _key(step: Step) -> tuple[str, str]:
    return pair(step.start, step.end)


def _refusals(steps: Sequence[Step]) -> list[Refusal]:
    return [step.refusal for step in steps if step.refusal is not None]


def _nodes(steps: Sequence[Step]) -> set[str]:
    """Every node that the steps speak of."""
    found = {node for step in steps for node in (step.start, step.end)}
    for refusal in _refusals(steps):
        found |= {node for side in refusal.sides for node in side} | {node for link in refusal.links for node in link}
        found |= set(refusal.pair or ())
    return found


def _operations(steps: Sequence[Step]) -> list[str]:
    return list(dict.fromkeys(r.decision.operation for r in _refusals(steps) if r.decision is not None))
