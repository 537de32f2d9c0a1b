"""Time passes by itself, on the shipped command: a membership that ends by time alone ends on time, without any further event."""

from pathlib import Path

import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: just-called}
spec: {where: {did: {event: call_ended, within: 4s}}}
"""
SQL = """
SELECT op, cause, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(evaluated_at)
FROM transitions WHERE segment = 'just-called' ORDER BY seq
"""


def test_a_window_exit_fires_by_time_alone_within_a_second(tmp_path: Path, onefold: Onefold) -> None:
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "segments.yaml").write_text(DEFINITIONS, encoding="utf-8")
    settled = onefold.wait_until_settled(0)["accepted"]
    onefold.run("apply", str(tmp_path / "definitions"))
    onefold.send([{"type": "track", "event": "warm_up", "userId": "u0"}])
    onefold.wait_until_settled(settled + 1)
    onefold.send([{"type": "track", "event": "call_ended", "userId": "u1", "messageId": "m1"}])
    rows = eventually(lambda: onefold.rows(SQL), lambda observed: len(observed) >= 2)
    assert [row[:2] for row in rows] == [["entered", "event"], ["exited", "timer"]]
    happened = onefold.rows("SELECT toUnixTimestamp64Milli(time) FROM events WHERE name = 'call_ended'")
    due, evaluated = int(rows[1][2]), int(rows[1][3])
    assert due == int(happened[0][0]) + 4000
    assert due <= evaluated < due + 1000
