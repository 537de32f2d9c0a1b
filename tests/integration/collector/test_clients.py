"""The server clients of Segment and RudderStack against a running collector: what they say is on the log, event by event."""

from itertools import groupby

import pytest

from tests.support.client_story import HOUR_MS, JSON, Client, ClientTrial

pytestmark = pytest.mark.kafka

PYTHON = (
    Client("segment_python", "analytics-python", "2.4.0"),
    Client("rudder_python", "analytics-python", "2.1.9", traits_in_context=True),
)
NODE = (
    Client("segment_node.mjs", "@segment/analytics-node", "3.1.0", gzips=False),
    Client("rudder_node.mjs", "analytics-node", "3.0.13", "application/x-www-form-urlencoded", traits_in_context=True),
)


@pytest.fixture(params=[*PYTHON, *(pytest.param(client, marks=pytest.mark.clients) for client in NODE)], ids=str)
def client(request: pytest.FixtureRequest) -> Client:
    """Return each of the four clients in turn, those in Node only where they are installed."""
    found: Client = request.param
    if found in NODE:
        request.getfixturevalue("packages")
    return found


@pytest.mark.parametrize("gzip", [False, True])
def test_client_library_events_reach_the_log(trial: ClientTrial, client: Client, gzip: bool) -> None:
    played = trial.play(client, gzip=gzip)
    trial.verify(trial.log(), client, played)
    assert {seen.path for seen in trial.proxy.posts} == {"/v1/batch"}
    assert {seen.headers["content-type"] for seen in trial.proxy.posts} == {client.zipped_type if gzip else JSON}
    assert {seen.raw.startswith(b"\x1f\x8b") for seen in trial.proxy.posts} == {gzip and client.gzips}
    assert max(len(seen.calls) for seen in trial.proxy.posts) > 1


@pytest.mark.parametrize("clock_ms", [3 * HOUR_MS, -26 * HOUR_MS], ids=["ahead", "behind"])
def test_a_clients_wrong_clock_is_corrected(trial: ClientTrial, client: Client, clock_ms: int) -> None:
    played = trial.play(client, clock_ms=clock_ms)
    trial.verify(trial.log(), client, played)


def test_client_library_retries_after_503_without_duplicates(trial: ClientTrial, client: Client) -> None:
    trial.proxy.refuse = 1
    played = trial.play(client)
    trial.verify(trial.log(), client, played)
    refused = {call["messageId"] for _, call in trial.proxy.sent(503)}
    assert refused
    assert refused <= {call["messageId"] for _, call in trial.proxy.sent()}


def test_events_sent_twice_share_a_message_id(trial: ClientTrial, client: Client) -> None:
    trial.proxy.mishear = 1
    played = trial.play(client)
    events = trial.log()
    twice = {call["messageId"] for _, call in trial.proxy.sent(503)}
    assert twice
    assert sorted(event.id for event in events) == sorted([*twice, *(call["messageId"] for _, call in trial.proxy.sent())])
    last = [list(same)[-1] for _, same in groupby(events, key=lambda event: event.id)]
    trial.verify(last, client, played)
