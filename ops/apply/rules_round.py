"""Waiting until every profile follows changed identity rules. The link agent does the work, beside the live links."""

import asyncio
from typing import Final

from ops.progress import ProgressReporter
from profile_store.link_state import load_link_state
from profile_store.port import ProfileStore

PHASE: Final = "identifiers resolved by the new rules"
STALL_S: Final = 30.0
"""How long the agent may show no progress. A round begins within two seconds, and reports after every 200 identifiers."""
POLL_S: Final = 0.2


async def wait_for_rules_round(
    store: ProfileStore, after_offset: int, report: ProgressReporter, *, stall_s: float = STALL_S, poll_s: float = POLL_S
) -> bool:
    """Return true once all profiles follow identity rules that were written at or after this offset of `definitions`.

    Returns false when the link agent has made no progress for `stall_s`: the rules are live, and it goes on once it runs. Raises
    Transient when the store does not answer.
    """
    loop = asyncio.get_running_loop()
    seen, stalled_at_s = (-1, -1), loop.time() + stall_s
    while loop.time() < stalled_at_s:
        state = await load_link_state(store)
        if state.rules > after_offset:  # the number of rules is one more than their offset
            return True
        if (progress := (state.round_resolved, state.round_nodes)) != seen:
            seen, stalled_at_s = progress, loop.time() + stall_s
            if state.round_nodes:
                report(PHASE, state.round_resolved, state.round_nodes)
        await asyncio.sleep(poll_s)
    return False
