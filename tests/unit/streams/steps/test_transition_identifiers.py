"""A transition says by which identifiers the customer is known, so that a receiver finds its own record of them."""

import random

from tests.support.events import event
from tests.support.segments import segment
from tests.support.simulated_pipeline import Pipeline

KNOWN = event({"user_id": "KH-7", "phone": "+84912345678", "email": "lan@cửa-hàng.vn"}, id="m1", name="Viewed")
FROM_THE_CRM = event({"user_id": "KH-7", "crm_id": "CRM-12"}, id="m2", name="Viewed")


async def test_a_transition_has_the_identifiers_of_all_members_of_the_profile() -> None:
    line = Pipeline(random.Random(1), [segment("twice", {"did": {"event": "Viewed", "at_least": 2}})], partitions=1)
    for one in (KNOWN, FROM_THE_CRM):
        line.feed(one)
        await line.drain()
    (entered,) = [transition for transition in line.transitions() if transition.op == "entered"]
    assert set(entered.identifiers) == {*KNOWN.identifiers, *FROM_THE_CRM.identifiers}
    assert [namespace for namespace, _ in entered.identifiers] == ["crm_id", "email", "phone", "user_id"]
