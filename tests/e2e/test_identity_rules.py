"""Identity rules on the shipped command: what a shared value joins, and what a changed rule does to it."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import running_onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]

RULES = """
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec:
  namespaces:
    email: {blocked: ["Quầy.Thu.Ngân@CửaHàng.vn"]}
    phone: {blocked_patterns: ["^.8428"]}
"""


def test_identity_rule_change_splits_and_rejoins_profiles(tmp_path: Path) -> None:
    with running_onefold(tmp_path / "data") as onefold:
        traits = [{"email": "quầy.thu.ngân@cửahàng.vn"}, {"phone": "028 3822 5678"}]
        calls = [
            {
                "type": "identify",
                "messageId": f"m{n}",
                "anonymousId": f"máy-{n}",
                "traits": {**traits[n % 2], "name": f"Nguyễn {n}"},
            }
            for n in range(6)
        ]
        onefold.send(calls)
        assert onefold.wait_until_settled(6)["balanced"]

        def profiles() -> list[list[str]]:
            return onefold.rows("SELECT profile_id, count() FROM events GROUP BY profile_id ORDER BY profile_id")

        eventually(profiles, lambda rows: [count for _, count in rows] == ["3", "3"])
        rules = tmp_path / "rules"
        rules.mkdir()
        (rules / "identity.yaml").write_text(RULES)
        onefold.run("apply", str(rules))
        eventually(profiles, lambda rows: [count for _, count in rows] == ["1"] * 6)
        eventually(lambda: onefold.rows("SELECT count() FROM profiles"), lambda rows: rows == [["6"]])
        assert onefold.wait_until_verified()["profiles_redis"] == 6
        (rules / "identity.yaml").write_text(RULES.replace('["^.8428"]', "[]"))
        onefold.run("apply", str(rules))
        eventually(profiles, lambda rows: sorted(count for _, count in rows) == ["1", "1", "1", "3"])
        assert onefold.wait_until_verified()["profiles_redis"] == 4
        assert onefold.wait_until_settled(6)["balanced"]


CARDS = """
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec: {namespaces: {loyalty_card: {rank: 1, normalise: digits}}}
---
apiVersion: onefold/v1
kind: List
metadata: {name: invited}
spec: {namespace: loyalty_card, values: ["4000 1234"]}
"""


def test_a_namespace_of_ones_own_is_used_as_soon_as_it_is_applied(tmp_path: Path) -> None:
    with running_onefold(tmp_path / "data") as onefold:
        onefold.send([{"type": "identify", "messageId": "m1", "anonymousId": "c-71", "traits": {"email": "an@thu.vn"}}])
        assert onefold.wait_until_settled(1)["balanced"]
        definitions = tmp_path / "definitions"
        definitions.mkdir()
        (definitions / "rules.yaml").write_text(CARDS)
        onefold.run("apply", str(definitions))
        sale = {"type": "track", "event": "Sale", "anonymousId": "c-71", "identifiers": {"loyalty_card": "4000-1234"}}

        def sell() -> bool:
            # The collector follows the definitions: until it knows the namespace, such an event is quarantined.
            onefold.send([{**sale, "messageId": "m2"}])
            return onefold.rows("SELECT count() FROM events_now WHERE id = 'm2'") == [["1"]]

        eventually(sell)
        customers = tmp_path / "customers.csv"
        customers.write_text("name,email,identifiers.loyalty_card\nÁnh,anh@thu.vn,4000 5678\n", encoding="utf-8")
        onefold.run("import", "customers", str(customers))

        def why(card: str, email: str) -> Any:
            return onefold.json("identity", "why", f"loyalty_card:{card}", f"email:{email}", check=False)

        answer = eventually(lambda: why("4000 1234", "an@thu.vn"), lambda a: a["verdict"] == "together")
        assert [step["from"]["namespace"] for step in answer["path"]] == ["loyalty_card", "anonymous_id"]
        eventually(lambda: why("40005678", "anh@thu.vn"), lambda a: a["verdict"] == "together")
        assert onefold.wait_until_verified()["profiles_redis"] == 2
