"""Calls of one slot each, sent to the primaries of a Redis Cluster: one round trip for each primary, side by side."""

import asyncio
from collections.abc import Iterable, Sequence
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

from profile_store.cluster_address import parsed
from profile_store.redis_base import CONNECT_TIMEOUT_S, MAX_CONNECTIONS, Script

ROUNDS: Final = 16
"""So many times a call follows a slot that moves; a slot that moves more often than that is a fault of the cluster."""
TRY_AGAIN_S: Final = 0.02
"""A script of several keys cannot run while some of them have moved and some have not: that takes as long as a slot takes."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command, or a script, all of whose keys share the slot of `key`."""

    key: str
    name: str | Script
    arguments: tuple[Any, ...]

    @classmethod
    def script(cls, script: Script, keys: Sequence[str], *arguments: Any) -> "Call":
        """A call of a script."""
        return cls(keys[0], script, (len(keys), *keys, *arguments))

    def parts(self, *, whole: bool = False) -> tuple[Any, ...]:
        """What is sent. `whole`: a script's text and not its name."""
        if isinstance(self.name, str):
            return (self.name, *self.arguments)
        return ("EVAL", self.name.text, *self.arguments) if whole else ("EVALSHA", self.name.sha, *self.arguments)


@dataclass(slots=True)
class _Sent:
    """A call on its way: which of the calls it is, where it went, and the answer or error."""

    index: int
    node: ClusterNode
    command: PipelineCommand


class ClusterLink:
    """Follows slots that move and loads scripts where they are missing; any other error is raised, and the cluster's layout is read
    anew before the next call. A call is not repeated after an error: whether it took place is not known."""

    def __init__(self, url: str) -> None:
        """Raises ValueError or TypeError when `url` is not an address of a cluster, or has an option that there is none of."""
        hosts, options = parsed(url)
        client = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],
            max_connections=2 * MAX_CONNECTIONS,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=None,  # the caller's bound
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **options,
        )
        self._nodes, self._seeds = client.nodes_manager, client.startup_nodes
        self._slot = client.keyslot
        self._under_way = asyncio.Semaphore(MAX_CONNECTIONS)
        self._stale = True

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers in the order of the calls. Raises the first error; other calls may have taken place."""
        async with self._under_way:
            try:
                await self._ready()
                return await self._answers(calls)
            except ResponseError as error:
                self._stale |= isinstance(error, ClusterDownError)
                raise
            except BaseException:
                self._stale = True
                raise

    async def primaries(self) -> list[ClusterNode]:
        """All primaries, for what has no key."""
        await self._ready()
        return self._nodes.get_nodes_by_server_type("primary")

    async def on(self, node: ClusterNode, *parts: Any) -> Any:
        """The answer of one primary."""
        async with self._under_way:
            try:
                return await node.execute_command(*parts)
            except ResponseError:
                raise
            except BaseException:
                self._stale = True
                raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")
        self._stale = True

    async def _ready(self) -> None:
        if self._stale:
            try:
                await self._nodes.initialize()
            except BaseException:  # all nodes may have gone elsewhere: next time the address is asked again
                for node in self._seeds:
                    self._nodes.startup_nodes.setdefault(node.name, node)
                raise
            self._stale = False

    async def _answers(self, calls: Sequence[Call]) -> list[Any]:
        answers: list[Any] = [None] * len(calls)
        asked: dict[int, ClusterNode] = {}
        left: Iterable[int] = range(len(calls))
        rounds = 0
        while rounds < ROUNDS:
            failed = []
            for sent in await self._sent(calls, left, asked):
                if isinstance(sent.command.result, Exception):
                    failed.append(sent)
                else:
                    answers[sent.index] = sent.command.result
            if not failed:
                return answers
            asked = await self._redirected(calls, failed)
            left = [sent.index for sent in failed]
            rounds += any(isinstance(sent.command.result, (MovedError, NoScriptError)) for sent in failed)
            if any(isinstance(sent.command.result, TryAgainError) for sent in failed):
                await asyncio.sleep(TRY_AGAIN_S)  # the caller's bound ends it
        raise ClusterError("a slot moved on and on")

    async def _sent(self, calls: Sequence[Call], which: Iterable[int], asked: dict[int, ClusterNode]) -> list[_Sent]:
        """Send the calls, those for one node in one write. `asked` says which go to a node that takes a slot over."""
        groups: dict[str, list[_Sent]] = {}
        for index in which:
            node = asked.get(index)
            if node is not None:
                ahead = _Sent(-1, node, PipelineCommand(index, "ASKING"))
                groups.setdefault(node.name, []).append(ahead)
            else:
                node = self._nodes.get_node_from_slot(self._slot(calls[index].key))
            command = PipelineCommand(index, *calls[index].parts(whole=index in asked))
            groups.setdefault(node.name, []).append(_Sent(index, node, command))
        ended = await asyncio.gather(
            *(group[0].node.execute_pipeline([sent.command for sent in group]) for group in groups.values()),
            return_exceptions=True,  # none is left behind, running on
        )
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        return [sent for group in groups.values() for sent in group if sent.index >= 0]

    async def _redirected(self, calls: Sequence[Call], failed: Sequence[_Sent]) -> dict[int, ClusterNode]:
        """Do what the errors ask for; returns the nodes that are to be asked. Raises an error that asks for nothing."""
        asked: dict[int, ClusterNode] = {}
        missing: dict[tuple[str, str], tuple[ClusterNode, Script]] = {}
        for sent in failed:
            error, name = sent.command.result, calls[sent.index].name
            if isinstance(error, MovedError):
                await self._nodes.move_slot(error)
            elif isinstance(error, AskError):
                node = self._nodes.get_node(host=error.host, port=error.port)
                if node is None:
                    raise ClusterDownError("a slot moves to a primary that is not known yet")
                asked[sent.index] = node
            elif isinstance(error, NoScriptError) and isinstance(name, Script):
                missing[sent.node.name, name.sha] = (sent.node, name)
            elif isinstance(error, Exception) and not isinstance(error, TryAgainError):
                raise error
        await asyncio.gather(*(node.execute_command("SCRIPT LOAD", script.text) for node, script in missing.values()))
        return asked
