"""Which connection gives way when a port has more of them than room."""

import pytest

from runtime.http.connections import CONNECTION_KEY, ConnectionTable, client_network, prove_connection


class FakeConnection:
    """A connection that notes that it was closed for another one."""

    def __init__(self, table: ConnectionTable) -> None:
        self._table = table
        self.gave_way = False

    def prove(self) -> None:
        self._table.prove(self)

    def give_way(self) -> None:
        self.gave_way = True


def open_connections(table: ConnectionTable, peer: str, count: int) -> list[FakeConnection]:
    """Open connections of an address; every one of them gets a place."""
    opened = [FakeConnection(table) for _ in range(count)]
    assert all(table.admit(connection, peer) for connection in opened)
    return opened


def closed(connections: list[FakeConnection]) -> list[bool]:
    return [connection.gave_way for connection in connections]


def test_the_longest_unproven_connection_gives_way_to_a_new_one() -> None:
    table = ConnectionTable(3, 3)
    first = open_connections(table, "a", 3)
    open_connections(table, "b", 2)
    assert closed(first) == [True, True, False]
    assert len(table) == 3


def test_an_address_with_more_than_its_share_closes_its_own_connections_alone() -> None:
    table = ConnectionTable(10, 2)
    others = open_connections(table, "b", 2)
    flood = open_connections(table, "a", 1_000)
    assert closed(others) == [False, False]
    assert closed(flood) == [True] * 998 + [False] * 2
    assert len(table) == 4


def test_nobody_takes_the_place_of_a_proven_connection() -> None:
    table = ConnectionTable(2, 2)
    proven = open_connections(table, "a", 2)
    for connection in proven:
        connection.prove()
    assert not table.admit(FakeConnection(table), "b")
    assert closed(proven) == [False, False]
    assert len(table) == 2


def test_a_connection_whose_request_is_answered_is_the_newest_of_the_unproven_ones() -> None:
    table = ConnectionTable(3, 3)
    answered, idle = open_connections(table, "a", 2)
    answered.prove()
    table.unprove(answered)
    open_connections(table, "b", 2)
    assert idle.gave_way
    assert not answered.gave_way
    table.unprove(idle)  # it is closed: it gets no place again
    assert len(table) == 3


def test_a_closed_connection_frees_its_place_in_every_state() -> None:
    table = ConnectionTable(2, 1)
    for _ in range(10):
        (connection,) = open_connections(table, "a", 1)
        connection.prove()
        (unproven,) = open_connections(table, "a", 1)
        for opened in (connection, unproven, unproven):
            table.remove(opened)
    assert len(table) == 0


def test_an_application_proves_the_connection_of_its_request_where_there_is_one() -> None:
    table = ConnectionTable(2, 2)
    (connection,) = open_connections(table, "a", 1)
    prove_connection({"state": {CONNECTION_KEY: connection}})
    prove_connection({})
    open_connections(table, "b", 3)
    assert not connection.gave_way


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_all_addresses_that_one_machine_may_have_are_one_client(host: str, client: str) -> None:
    assert client_network(host) == client
