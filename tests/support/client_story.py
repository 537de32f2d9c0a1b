"""A story that every client plays, what must be on the log afterwards, and how a client is run."""

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Partition
from runtime.settings import Settings
from schemas.codec import decode
from schemas.events import Event
from schemas.identifiers import node, pick_owner
from tests.clients.install import directory
from tests.support.collector_harness import KEY
from tests.support.collector_process import ROOT
from tests.support.recording_proxy import RecordingProxy

CLIENTS = ROOT / "tests" / "clients"
WITHIN_S = 90
HOUR_MS = 3_600_000
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Client:
    """A client library and its habits.

    `library` is the name that it reports. `traits_in_context` says that an identify call carries its traits in the context.
    `gzips` says that it compresses bodies when it is configured to; `zipped_type` is the content type that it then declares.
    """

    script: str
    library: str
    version: str
    zipped_type: str = JSON
    gzips: bool = True
    traits_in_context: bool = False

    def __str__(self) -> str:
        return self.script.replace(".", "-")


@dataclass(frozen=True, slots=True)
class PlaySpan:
    """When the playing of a story began and ended, by the true clock."""

    began_ms: int
    ended_ms: int


def story(run: str) -> list[dict[str, Any]]:
    """Return all calls of customers that occur nowhere else.

    They contain duplicates, nulls, accents, custom times and a self-alias.
    """
    cookie, user, other = f"{run}-c", f"{run}-KH-7", f"{run}-KH-8"
    return [
        {"type": "page", "anonymousId": cookie, "category": "Cửa hàng", "name": "Trang chủ", "ago_ms": 90_000,
         "properties": {"path": "/", "title": "Chợ quê - đặc sản miền Tây", "coupon": None}},
        {"type": "track", "anonymousId": cookie, "event": "Đã xem sản phẩm", "ago_ms": 80_000,
         "properties": {"sku": "AD-01", "tên": "Áo dài lụa Hà Đông", "price": 1_850_000, "sale": 0.15, "new": True, "gift": None,
                        "tags": ["lụa", "thủ công"], "shop": {"city": "Cần Thơ", "floor": None}}},
        {"type": "identify", "userId": user, "anonymousId": cookie, "ago_ms": 70_000,
         "traits": {"email": " Tuyet.Nguyen@Thu.VN ", "phone": "0912 345 678", "name": "Nguyễn Thị Ánh Tuyết", "birthday": None,
                    "address": {"street": "27/4 Lê Văn Sỹ, Phường 13", "city": "Thành phố Hồ Chí Minh"}}},
        {"type": "track", "userId": user, "anonymousId": cookie, "event": "Đã đặt hàng", "ago_ms": 400 * 24 * HOUR_MS,
         "properties": {"order_id": "DH-1", "total": 1_970_000, "currency": "VND", "note": 'Giao giờ hành chính 🌸 "gấp"'}},
        {"type": "screen", "userId": user, "name": "Giỏ hàng", "ago_ms": 60_000, "properties": {"items": 2}},
        {"type": "group", "userId": user, "groupId": f"{run}-cty", "ago_ms": 50_000,
         "traits": {"name": "Công ty Hoa Sen", "tax": None}},
        {"type": "alias", "previousId": f"{run}-cũ", "userId": user, "ago_ms": 40_000},
        {"type": "alias", "previousId": user, "userId": user, "ago_ms": 30_000},
        {"type": "identify", "userId": other, "traits": {"phone": "(028) 3822 9999", "name": "Trần Đức Huỳnh"}, "ago_ms": 20_000},
        *({"type": "track", "userId": other, "event": f"Bước {n}", "properties": {"n": n}, "ago_ms": 9000 - n} for n in range(20)),
        {"type": "track", "userId": other, "event": "Bây giờ", "properties": {}},
    ]  # fmt: skip


def expected_event(call: dict[str, Any]) -> dict[str, Any]:
    """Return the event that the log must contain for a call of the story, apart from ids, times and context."""
    kind, traits = call["type"], dict(call.get("traits") or {})
    properties = dict(call.get("properties") or {})
    if kind == "group":
        properties["groupId"] = call["groupId"]
    if kind == "alias":
        properties["previousId"] = call["previousId"]
    if "category" in call:
        properties["category"] = call["category"]
    identifiers = {("user_id", call.get("userId")), ("anonymous_id", call.get("anonymousId"))}
    if kind == "identify":
        phones = {"0912 345 678": "+84912345678", "(028) 3822 9999": "+842838229999"}
        identifiers |= {("email", traits.get("email", "").strip().lower() or None), ("phone", phones[traits["phone"]])}
    return {
        "type": kind,
        "name": call.get("event", call.get("name", "")),
        "identifiers": tuple(sorted((namespace, value) for namespace, value in identifiers if value)),
        "properties": properties,
        "traits": traits,
    }


def comparable_event(event: Event) -> dict[str, Any]:
    """Return the fields of an event on the log that `expected_event` predicts."""
    return {name: getattr(event, name) for name in ("type", "name", "identifiers", "properties", "traits")}


EndOffsets = dict[str, dict[int, int]]
"""The next offset of each partition, by topic."""


@dataclass
class ClientTrial:
    """A story for one client, the proxy before the collector, and the offsets at which the log ended before."""

    settings: Settings
    proxy: RecordingProxy
    calls: list[dict[str, Any]]
    start_offsets: EndOffsets

    def play(self, client: Client, *, gzip: bool = False, clock_ms: int = 0) -> PlaySpan:
        """Let the client make the calls through the proxy, in a process of its own, until it has sent all."""
        instructions = {"url": self.proxy.url, "key": KEY, "gzip": gzip, "clock_ms": clock_ms, "calls": self.calls}
        argv, env = [sys.executable, "-m", f"tests.clients.{client.script}"], dict(os.environ)
        if client.script.endswith(".mjs"):
            argv, env = ["node", str(CLIENTS / client.script)], {**env, "ONEFOLD_CLIENTS_DIR": str(directory())}
        began_ms = time.time_ns() // 1_000_000
        completed = subprocess.run(
            argv,
            cwd=ROOT,
            env=env,
            input=json.dumps(instructions) + "\n",
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        ended_ms = time.time_ns() // 1_000_000 + 1
        assert completed.returncode == 0, f"{client} ended with {completed.returncode}:\n{completed.stdout}\n{completed.stderr}"
        assert json.loads(completed.stdout) == {"errors": []}
        return PlaySpan(began_ms, ended_ms)

    def log(self) -> list[Event]:
        """Return all events since the beginning of the trial, sorted by message id and then by arrival.

        Fails if any call was quarantined meanwhile.
        """
        return asyncio.run(events_since(self.settings, self.start_offsets))

    def verify(self, events: list[Event], client: Client, played: PlaySpan) -> None:
        """Check that `events` contains every call of the story once, complete and at its time, and nothing else."""
        wire = {call["messageId"]: (request, call) for request, call in self.proxy.sent()}
        assert len(wire) == len(self.calls)
        assert [event.id for event in events] == sorted(wire)
        assert sorted(map(comparable_event, events), key=repr) == sorted(map(expected_event, self.calls), key=repr)
        ago_ms_by_event = {repr(expected_event(call)): call.get("ago_ms", 0) for call in self.calls}
        for event in events:
            ago_ms = ago_ms_by_event[repr(comparable_event(event))]
            # By the true clock, whatever the client's says; a millisecond is lost where clients round.
            assert played.began_ms - ago_ms - 1 <= event.time_ms <= played.ended_ms - ago_ms + 1
            assert played.began_ms <= event.received_ms <= played.ended_ms
            if client.traits_in_context and event.type == "identify":
                assert event.context["traits"] == event.traits
            assert {name for name in event.context if name != "traits"} == {"library"}
            assert event.context["library"] == {"name": client.library, "version": client.version}
            self._check_derived_fields(event)

    def _check_derived_fields(self, event: Event) -> None:
        """Check the fields that depend on the event alone."""
        secret = self.settings.tenant_key
        strongest = pick_owner(event.identifiers)
        assert strongest is not None
        assert event.owner == node(secret, strongest)
        assert event.nodes == tuple(node(secret, pair) for pair in event.identifiers)
        assert event.source == "default"
        assert event.flags == ()
        assert event.violations == ()
        assert event.observed == ()


async def end_offsets(settings: Settings) -> EndOffsets:
    """Return the offsets at which `events` and `quarantine` end now."""
    async with KafkaBus(settings) as bus:
        return {topic: await bus.end_offsets(settings.topic(topic)) for topic in ("events", "quarantine")}


async def events_since(settings: Settings, start_offsets: EndOffsets) -> list[Event]:
    """Return all events from `start_offsets` until now, sorted by message id and then by arrival.

    Fails if any call was quarantined meanwhile.
    """
    events: list[Event] = []
    async with KafkaBus(settings) as bus, asyncio.timeout(WITHIN_S):
        ends = {topic: await bus.end_offsets(settings.topic(topic)) for topic in start_offsets}
        assert ends["quarantine"] == start_offsets["quarantine"], "a client's call went into quarantine"
        expected_count = sum(ends["events"].values()) - sum(start_offsets["events"].values())
        reader = await bus.reader([settings.topic("events")])
        for number, offset in start_offsets["events"].items():
            await reader.seek(Partition(settings.topic("events"), number), offset)
        while len(events) < expected_count:
            for records in (await reader.poll(500, 1000)).values():
                events += [decode(Event, record.value) for record in records]
        await reader.aclose()
    assert len(events) == expected_count
    return sorted(events, key=lambda event: (event.id, event.received_ms))
