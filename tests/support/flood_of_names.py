"""A flood of names: bodies of a few kilobytes, compressed, that name thousands of traits and events of one customer."""

import json
from typing import Final

BODY_BYTES: Final = 4 * 1024 * 1024
"""The largest body that the collector takes."""
NAMES_PER_CALL: Final = 118


def flood(user: str, requests: int = 3) -> list[bytes]:
    """Return bodies of a batch each, as large as the collector takes, whose traits have names of 256 letters."""
    bodies, number = [], 0
    for _ in range(requests):
        calls: list[dict[str, object]] = []
        size = 0
        while size < BODY_BYTES - 64 * 1024:
            traits = {f"{number + place:0>256}": 1 for place in range(NAMES_PER_CALL)}
            number += NAMES_PER_CALL
            calls.append(
                {"type": "identify", "userId": user, "anonymousId": f"cookie-{number}", "messageId": f"m{number}", "traits": traits}
            )
            calls.append({"type": "track", "userId": user, "event": f"{number:0>512}", "messageId": f"t{number}"})
            size += len(json.dumps(calls[-2])) + len(json.dumps(calls[-1]))
        bodies.append(json.dumps({"batch": calls}).encode())
    return bodies
