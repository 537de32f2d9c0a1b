"""What each process does on the broker: which topics it reads and writes, and its consumer groups. The rights that it needs follow.

The page `docs/kafka-access.md` is made from this table. A test runs every process on a broker that checks rights by it, so that a
process which reads or writes anything else fails there.
"""

from dataclasses import dataclass
from typing import Final

OPERATOR: Final = "operator"
"""The user of the `onefold` command on servers: it creates topics, and what it defines and repairs concerns every one of them."""


@dataclass(frozen=True, slots=True)
class Access:
    """The topics and groups of one process, by their names without the environment. A group that ends with `*` is a prefix."""

    role: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Right:
    """One rule of the broker: what a user may do with a topic or a group. With `is_prefix` the name is the beginning of names."""

    operation: str
    resource: str
    name: str
    is_prefix: bool = False


ACCESS: Final = (
    Access("collector", reads=("definitions",), writes=("events", "quarantine")),
    Access(
        "streams",
        reads=("touchpoints", "events", "links", "touched", "groups", "definitions"),
        writes=("events", "links", "identities", "touched", "profiles", "memberships", "groups", "quarantine"),
        groups=("accept", "unify", "link", "segment", "group"),
    ),
    Access(
        "consumers",
        reads=("events", "links", "identities", "profiles", "memberships", "groups", "deliveries", "quarantine", "definitions"),
        writes=("quarantine",),
        groups=("warehouse-*",),
    ),
    Access(
        "activation",
        reads=("memberships", "retries", "definitions"),
        writes=("deliveries", "retries", "quarantine"),
        groups=("activation.*",),
    ),
    Access(
        "api",
        reads=("memberships", "definitions"),
        # A record in quarantine is sent again to the topic that it came from.
        writes=(
            "touchpoints",
            "events",
            "links",
            "identities",
            "touched",
            "profiles",
            "memberships",
            "groups",
            "deliveries",
            "retries",
            "quarantine",
        ),
    ),
    Access(OPERATOR),
)


def rights_of(access: Access, environment: str) -> list[Right]:
    """Return the rules that a user needs on a broker that forbids what is not allowed."""
    if access.role == OPERATOR:
        operations = ("Create", "Alter", "AlterConfigs", "Describe", "DescribeConfigs", "Read", "Write")
        rights = [Right(operation, "topic", f"{environment}.", is_prefix=True) for operation in operations]
        return [*rights, Right("Describe", "group", f"{environment}.", is_prefix=True)]
    rights = [Right("Read", "topic", f"{environment}.{topic}") for topic in access.reads]
    rights += [Right("Write", "topic", f"{environment}.{topic}") for topic in access.writes]
    for group in access.groups:
        rights.append(Right("Read", "group", f"{environment}.{group.removesuffix('*')}", is_prefix=group.endswith("*")))
    return rights
