"""The guard of a bus: it lets nobody work on another Kafka log than the one that the stores belong to.

A store remembers which log its positions stand for (`AdoptedLog`). Before a bus is used, the guard compares that with the log that
Kafka has. While they differ, every call raises AnotherLog, which is a Transient fault: processes wait and say why, and go on by
themselves once an operator has adopted the log, or has started the right broker. A log may also change while a process runs, so the
guard can be asked again at any time.

With the log a store remembers the fingerprint of the tenant secret. A process with another secret would compute other hashes for
the identifiers of everybody, and know nobody again. Nothing can go on by itself there, so it ends with Misconfigured.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from runtime.bus.epochs import AdoptedLog, LogIdentity, first_offset
from runtime.errors import AnotherLog, Misconfigured

ReadAdopted = Callable[[], Awaitable[AdoptedLog | None]]
"""Returns the log that a store belongs to; None when the store has not been prepared. Raises Transient."""
ReadIdentity = Callable[[Sequence[str]], Awaitable[LogIdentity]]
"""Returns the identity of the log that Kafka has, with the ids of these topics. Raises Transient."""

_CURE: Final = (
    "if this is the wrong broker, correct ONEFOLD_KAFKA_BOOTSTRAP; if the records of the other log are lost for good, "
    "run `onefold adopt`"
)


class LogGuard:
    """Compares the log of Kafka with the one that a store belongs to. Without `read_adopted` every log is the right one.

    `first_offset` is where the partitions of the log begin; `problem` is why it may not be used, empty when it may. `in_use` says
    that it could be used at some time.
    """

    def __init__(self, read_identity: ReadIdentity, read_adopted: ReadAdopted | None, secret_fingerprint: str = "") -> None:
        self._read_identity = read_identity
        self._read_adopted = read_adopted
        self._secret_fingerprint = secret_fingerprint
        self._adopted: AdoptedLog | None = None
        self.first_offset = 0
        self.in_use = read_adopted is None
        self.problem = ""

    async def ensure(self) -> None:
        """Compare, unless that was done before. Raises AnotherLog, Misconfigured for another tenant secret, Transient."""
        if self._adopted is None:
            await self.verify()

    async def verify(self) -> None:
        """Compare now. Raises AnotherLog, Misconfigured for another tenant secret, Transient."""
        if self._read_adopted is None:
            return
        if self._adopted is not None and not await self._difference(self._adopted):
            return
        # The store may have adopted the log that Kafka has now since it was read.
        self._adopted, adopted = None, await self._read_adopted()
        if adopted is None:
            self._refuse("the stores do not know yet which Kafka log they belong to: run `onefold prepare`")
        require_same_secret(adopted, self._secret_fingerprint)
        if difference := await self._difference(adopted):
            self._refuse(describe_difference(difference))
        self._adopted, self.first_offset, self.problem = adopted, first_offset(adopted.epoch), ""
        self.in_use = True

    async def _difference(self, adopted: AdoptedLog) -> str:
        return adopted.identity.difference(await self._read_identity(sorted(adopted.identity.topic_ids)))

    def _refuse(self, problem: str) -> NoReturn:
        self.problem = problem
        raise AnotherLog(problem)


def describe_difference(difference: str) -> str:
    """Return the sentence for operators."""
    return (
        f"Kafka has another log than the one that the stores belong to ({difference}), so its offsets mean nothing to them: {_CURE}"
    )


def require_same_secret(adopted: AdoptedLog, secret_fingerprint: str) -> None:
    """Raise Misconfigured when the stores were filled with another tenant secret. A process without a secret has no fingerprint."""
    if secret_fingerprint and adopted.secret_fingerprint and secret_fingerprint != adopted.secret_fingerprint:
        raise Misconfigured(
            "the tenant secret (ONEFOLD_TENANT_SECRET, or run/secrets.json of the data directory) is not the one with which the "
            "stores were filled, so nobody in them would be known again: restore that one, or begin with empty stores"
        )
