"""Accounts and households on the shipped command: from calls to segments and to SQL."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.timeout(600)]
DEFINITIONS = """
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec: {household: {address_trait: address, landline: true, shared_traits: [city]}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: families}
spec: {where: {household: {members: {at_least: 2}}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: enterprise}
spec: {where: {account: {trait: {path: plan, value: enterprise}}}}
"""
INSIDE = """
SELECT JSONExtractString(p.traits, 'name') AS name, m.segment
FROM memberships AS m INNER JOIN profiles AS p USING profile_id ORDER BY name
"""


def identify(user: str, **traits: Any) -> dict[str, Any]:
    return {"type": "identify", "messageId": f"i-{user}-{len(traits)}", "userId": user, "traits": {"name": user, **traits}}


def group(user: str, name: str, **traits: Any) -> dict[str, Any]:
    return {"type": "group", "messageId": f"g-{user}-{len(traits)}", "userId": user, "groupId": name, "traits": traits}


def inside(onefold: Onefold, segment: str) -> list[str]:
    """Return the names of the customers in a segment, by ClickHouse."""
    return [name for name, held in onefold.rows(INSIDE) if held == segment]


def until(onefold: Onefold, segment: str, names: list[str]) -> None:
    eventually(lambda: inside(onefold, segment), lambda results: results == names)


def test_calls_make_accounts_and_households_that_segments_and_analysts_see(tmp_path: Path, onefold: Onefold) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "all.yaml").write_text(DEFINITIONS, encoding="utf-8")
    onefold.run("apply", str(folder))
    onefold.send(
        [
            identify("An", address="Số 12 đường Trần Hưng Đạo, P.5, TP. Huế", city="Huế", salary=7),
            identify("Bình", address={"street": "12 tran hung dao, phuong 5", "city": "HUẾ"}),
            identify("Chi", address="14 Trần Hưng Đạo, P.5, Huế", phone="02838221234"),
            group("An", "Công ty A"),
            group("Chi", "Công ty A"),
        ]
    )
    until(onefold, "families", ["An", "Bình"])
    onefold.send([group("An", "Công ty A", plan="enterprise"), identify("Dũng", phone="+84 28 3822 1234")])
    until(onefold, "enterprise", ["An", "Chi"])
    until(onefold, "families", ["An", "Bình", "Chi", "Dũng"])
    accounts = eventually(lambda: onefold.rows("SELECT account, traits, size FROM accounts"), lambda rows: rows != [])
    assert accounts == [["Công ty A", '{"plan":"enterprise"}', "2"]]
    homes = onefold.rows("SELECT traits, size, counters['$identify'] FROM households ORDER BY traits")
    assert homes == [['{"city":"Huế"}', "2", "2"], ["{}", "2", "2"]]
    assert onefold.account()["balanced"]
    assert onefold.wait_until_verified()["agree"]
