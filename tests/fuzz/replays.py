"""Any record of any stage, mended by any rule: it is sent again or refused, and nothing is raised."""

import random
from collections import Counter
from typing import Final

from domain.intake.admission import Admission
from ops.quarantine.edits import RecordEdits
from ops.quarantine.entries import QuarantineEntry
from ops.quarantine.replay_decider import ReplayDecider, ReplayRefusal
from runtime.errors import Invalid
from runtime.settings import Settings
from tests.fuzz import records, values
from tests.fuzz.http import broken

_STAGES: Final = ("collector", "accept", "unify", "link", "segment", "group", "consumers", "activation")
_IDS: Final = ("collector-1", "collector-webhook-1", "collector-import-1", "accept-onefold.touchpoints-0-1-0")
_PATHS: Final = ("event", "userId", "properties.total", "a.b.c", "", ".", "..", "context")


async def fuzz(seed: int, inputs: int) -> Counter[str]:
    """Decide `inputs` replays; raises InvariantBroken.

    Returns how many were sent again, refused, or impossible to repair.
    """
    rng, settings, seen = random.Random(seed), Settings(), Counter[str]()
    again = ReplayDecider(settings, [], Admission())
    for _ in range(inputs):
        topic, stage = rng.choice((*records.MAKERS, "touchpoints")), rng.choice(_STAGES)
        raw = records.value_for(rng, topic) or b""
        entry = QuarantineEntry(
            rng.choice(_IDS), stage, "poison", "", "default", settings.topic(topic), 0, 1, records.NOW_MS, True, "open", "", "", raw
        )
        edits = RecordEdits(
            put=((rng.choice(_PATHS), values.value(rng)),) if rng.random() < 0.4 else (),
            drop=(rng.choice(_PATHS),) if rng.random() < 0.2 else (),
            rename=((rng.choice(_PATHS), rng.choice(_PATHS)),) if rng.random() < 0.2 else (),
        )
        try:
            found = again.records(entry, edits.apply(raw))
        except Invalid:
            seen["not mended"] += 1
        except Exception as error:
            raise broken(f"sending again raises {error!r}", (stage, topic, edits, raw)) from error
        else:
            seen["refused" if isinstance(found, ReplayRefusal) else "sent"] += 1
    return seen
