"""Identity rules on the shipped command: what a shared value joins, and what a changed rule does to it."""

from pathlib import Path

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
