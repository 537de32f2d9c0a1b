"""`onefold apply` waits until all profiles follow changed identity rules, and shows how far the link agent is."""

import msgspec
import pytest

from ops.apply.rules_round import PHASE, wait_for_rules_round
from profile_store.link_state import LINKS_PARTITION, LinkState
from profile_store.memory import MemoryStore
from profile_store.port import GuardedDocument, Writes
from runtime.clock import ManualClock

RULES_OFFSET = 4


class AgentThatMovesWhenAsked(MemoryStore):
    """A store whose link agent takes its next state each time that somebody reads the state."""

    def __init__(self, *states: LinkState) -> None:
        super().__init__(ManualClock())
        self._states = list(states)

    async def documents(self, *_: object) -> dict[str, GuardedDocument]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return {LINKS_PARTITION.guard_name: GuardedDocument(msgspec.json.encode(state))}


async def wait(*states: LinkState, stall_s: float = 60.0) -> tuple[bool, list[tuple[str, int, int]]]:
    reports: list[tuple[str, int, int]] = []
    store = AgentThatMovesWhenAsked(*states)
    followed = await wait_for_rules_round(store, RULES_OFFSET, lambda *report: reports.append(report), stall_s=stall_s, poll_s=0)
    return followed, reports


async def test_the_progress_of_the_round_is_reported_until_all_profiles_follow() -> None:
    old = LinkState(rules=2)
    moving = [LinkState(rules=2, round_resolved=done, round_nodes=300) for done in (200, 200, 300)]
    assert await wait(old, *moving, LinkState(rules=RULES_OFFSET + 1)) == (True, [(PHASE, 200, 300), (PHASE, 300, 300)])


@pytest.mark.parametrize("rules", [0, RULES_OFFSET])
async def test_an_agent_that_stands_still_is_not_waited_for(rules: int) -> None:
    assert await wait(LinkState(rules=rules), stall_s=0) == (False, [])


async def test_state_of_the_link_agent_before_this_version_is_read() -> None:
    store = MemoryStore(ManualClock())
    document = GuardedDocument(b'{"unpublished_ids":["a"],"rules":7,"missed":true}', LINKS_PARTITION.guard_name, 1)
    await store.save(LINKS_PARTITION, None, 1, Writes(documents={("link_outbox", LINKS_PARTITION.guard_name): document}))
    assert await wait_for_rules_round(store, 6, lambda *_: None)
