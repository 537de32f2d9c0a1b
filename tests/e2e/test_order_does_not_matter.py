"""Order does not matter, on the shipped command: shuffled and duplicated input gives an equal state hash."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.shipped_command import running_onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e]
START = "2026-01-0{day}T0{hour}:00:00.{ms:03d}Z"


def history(rng: random.Random) -> list[dict[str, Any]]:
    """Return events of a few customers on shared devices, each with its own time and message id."""
    events: list[dict[str, Any]] = []
    for n in range(400):
        person, device = rng.randrange(12), rng.randrange(15)
        base = {
            "messageId": f"m{n}",
            "timestamp": START.format(day=rng.randint(1, 9), hour=rng.randint(0, 9), ms=rng.randint(0, 999)),
        }
        kind = rng.choice(["anonymous", "login", "order", "identify"])
        if kind == "anonymous":
            events.append({**base, "type": "page", "name": "Trang chủ", "anonymousId": f"cookie-{device}"})
        elif kind == "login":
            events.append(
                {**base, "type": "track", "event": "Signed In", "anonymousId": f"cookie-{device}", "userId": f"u{person}"}
            )
        elif kind == "order":
            events.append({**base, "type": "track", "event": "Order Completed", "userId": f"u{person}", "properties": {"total": n}})
        else:
            traits = {"name": f"Nguyễn Thị Ánh {n}", "phone": f"09{person:08d}", "city": rng.choice(["Hà Nội", "Huế"])}
            events.append({**base, "type": "identify", "userId": f"u{person}", "traits": traits})
    return events


def test_shuffled_and_duplicated_input_gives_an_equal_state_hash(tmp_path: Path) -> None:
    rng = random.Random(11)
    events = history(rng)
    hashes = []
    for name in ("plain", "shuffled"):
        directory = tmp_path / name
        if name == "shuffled":
            (directory / "run").mkdir(parents=True)
            shutil.copy2(tmp_path / "plain" / "run" / "secrets.json", directory / "run" / "secrets.json")
            events = [*events, *rng.choices(events, k=150)]
            rng.shuffle(events)
        with running_onefold(directory) as onefold:
            onefold.send(events)
            account = onefold.wait_until_settled(len(events))
            assert account["balanced"]
            assert account["stored"] == 400
            hashes.append(onefold.wait_until_verified()["redis"])
    assert hashes[0] == hashes[1]
