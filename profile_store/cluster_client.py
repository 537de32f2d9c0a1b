"""Sends calls to the primaries of a Redis Cluster, one round trip for each primary, all at the same time.

Every call concerns one slot. The client follows slots that move to another primary, which is a normal event in a cluster.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    MovedError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

from profile_store.cluster_address import parse_cluster_url
from profile_store.redis_base import CONNECT_TIMEOUT_S, MAX_CONNECTIONS, Script

MAX_REDIRECT_ROUNDS: Final = 16
"""How many times a call follows a slot that moves; a slot that moves more often means that the cluster is broken."""
TRY_AGAIN_DELAY_S: Final = 0.02
"""The pause before a call is sent again while its slot is moving: a script cannot run when only some of its keys have arrived."""


@dataclass(frozen=True, slots=True)
class SlotCall:
    """A command or a script whose keys all share the slot of `key`."""

    key: str
    name: str | Script
    arguments: tuple[Any, ...]

    @classmethod
    def of_script(cls, script: Script, keys: Sequence[str], *arguments: Any) -> "SlotCall":
        """Return a call of a script with these keys and arguments."""
        return cls(keys[0], script, (len(keys), *keys, *arguments))

    def command_parts(self, *, with_script_text: bool = False) -> tuple[Any, ...]:
        """Return the parts of the command to send; with `with_script_text` a script is sent as text, not by its hash."""
        if isinstance(self.name, str):
            return (self.name, *self.arguments)
        return ("EVAL", self.name.text, *self.arguments) if with_script_text else ("EVALSHA", self.name.sha, *self.arguments)


@dataclass(slots=True)
class _InFlightCall:
    """A call that was sent: its index among the calls, the node that it went to, and its answer or error."""

    index: int
    node: ClusterNode
    command: PipelineCommand


class ClusterClient:
    """A client that follows slots that move and loads scripts where they are missing.

    Any other error is raised, and the layout of the cluster is read again before the next call. A call is not repeated after an
    error, because it is not known whether it was executed.
    """

    def __init__(self, url: str, extra_options: Mapping[str, Any]) -> None:
        """Prepare the client without connecting. Raises ValueError or TypeError for a wrong address or an unknown option."""
        hosts, options = parse_cluster_url(url)
        client = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],
            max_connections=2 * MAX_CONNECTIONS,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=None,  # the caller limits the time of a call
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **{**extra_options, **options},
        )
        self.seed_hosts = tuple(hosts)
        self._nodes = client.nodes_manager
        self._seeds = client.startup_nodes
        self._slot_of_key = client.keyslot
        self._slots_in_use = asyncio.Semaphore(MAX_CONNECTIONS)
        self._layout_is_stale = True

    async def run(self, calls: Sequence[SlotCall]) -> list[Any]:
        """Return the answers in the order of the calls. Raises the first error; the other calls may have been executed."""
        async with self._slots_in_use:
            try:
                await self._ensure_layout()
                return await self._follow_until_answered(calls)
            except ResponseError as error:
                self._layout_is_stale |= isinstance(error, ClusterDownError)
                raise
            except BaseException:
                self._layout_is_stale = True
                raise

    async def primaries(self) -> list[ClusterNode]:
        """Return all primaries, for commands without a key."""
        await self._ensure_layout()
        return self._nodes.get_nodes_by_server_type("primary")

    async def run_on(self, node: ClusterNode, *parts: Any) -> Any:
        """Return the answer of one primary to a command."""
        async with self._slots_in_use:
            try:
                return await node.execute_command(*parts)
            except ResponseError:
                raise
            except BaseException:
                self._layout_is_stale = True
                raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")
        self._layout_is_stale = True

    async def _ensure_layout(self) -> None:
        if self._layout_is_stale:
            try:
                await self._nodes.initialize()
            except BaseException:  # all known nodes may have been replaced: the configured address is tried again next time
                for node in self._seeds:
                    self._nodes.startup_nodes.setdefault(node.name, node)
                raise
            self._layout_is_stale = False

    async def _follow_until_answered(self, calls: Sequence[SlotCall]) -> list[Any]:
        replies: list[Any] = [None] * len(calls)
        ask_targets: dict[int, ClusterNode] = {}
        pending: Iterable[int] = range(len(calls))
        rounds = 0
        while rounds < MAX_REDIRECT_ROUNDS:
            failed = []
            for in_flight in await self._send_pipelines(calls, pending, ask_targets):
                if isinstance(in_flight.command.result, Exception):
                    failed.append(in_flight)
                else:
                    replies[in_flight.index] = in_flight.command.result
            if not failed:
                return replies
            ask_targets = await self._handle_redirects(calls, failed)
            pending = [sent.index for sent in failed]
            rounds += any(isinstance(sent.command.result, (MovedError, NoScriptError)) for sent in failed)
            if any(isinstance(sent.command.result, TryAgainError) for sent in failed):
                await asyncio.sleep(TRY_AGAIN_DELAY_S)  # the caller's bound ends it
        raise ClusterError("a slot moved on and on")

    async def _send_pipelines(
        self, calls: Sequence[SlotCall], indices: Iterable[int], ask_targets: dict[int, ClusterNode]
    ) -> list[_InFlightCall]:
        """Send the calls, those for one node in one write. `ask_targets` says which go to a node that takes a slot over."""
        groups: dict[str, list[_InFlightCall]] = {}
        for index in indices:
            node = ask_targets.get(index)
            if node is not None:
                asking = _InFlightCall(-1, node, PipelineCommand(index, "ASKING"))
                groups.setdefault(node.name, []).append(asking)
            else:
                node = self._nodes.get_node_from_slot(self._slot_of_key(calls[index].key))
            command = PipelineCommand(index, *calls[index].command_parts(with_script_text=index in ask_targets))
            groups.setdefault(node.name, []).append(_InFlightCall(index, node, command))
        results = await asyncio.gather(
            *(
                calls_of_node[0].node.execute_pipeline([in_flight.command for in_flight in calls_of_node])
                for calls_of_node in groups.values()
            ),
            return_exceptions=True,  # wait for all pipelines, so that none is still running when an error is raised
        )
        for error in results:
            if isinstance(error, BaseException):
                raise error
        return [sent for group in groups.values() for sent in group if sent.index >= 0]

    async def _handle_redirects(self, calls: Sequence[SlotCall], failed: Sequence[_InFlightCall]) -> dict[int, ClusterNode]:
        """React to the errors of calls: record which primary a slot moved to, and load missing scripts.

        Return, by index of the call, the node that must be asked for a slot that is moving now. Raises any other error.
        """
        ask_targets: dict[int, ClusterNode] = {}
        missing_scripts: dict[tuple[str, str], tuple[ClusterNode, Script]] = {}
        for in_flight in failed:
            error, name = in_flight.command.result, calls[in_flight.index].name
            if isinstance(error, MovedError):
                await self._nodes.move_slot(error)
            elif isinstance(error, AskError):
                node = self._nodes.get_node(host=error.host, port=error.port)
                if node is None:
                    raise ClusterDownError("a slot moves to a primary that is not known yet")
                ask_targets[in_flight.index] = node
            elif isinstance(error, NoScriptError) and isinstance(name, Script):
                missing_scripts[in_flight.node.name, name.sha] = (in_flight.node, name)
            elif isinstance(error, Exception) and not isinstance(error, TryAgainError):
                raise error
        await asyncio.gather(*(node.execute_command("SCRIPT LOAD", script.text) for node, script in missing_scripts.values()))
        return ask_targets
