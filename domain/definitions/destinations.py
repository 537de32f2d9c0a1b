"""Find destinations that could never send a message. Pure."""

import ipaddress
from collections.abc import Iterator, Mapping

from domain.definitions.kinds import Definition, Destination, DestinationSpec


def find_unusable_destinations(requested: Mapping[str, Definition]) -> list[str]:
    """Return a sentence for each fault of a requested destination; live ones are left alone, since they wait and say so."""
    return [
        f"{key}: {fault}"
        for key, definition in sorted(requested.items())
        if isinstance(definition, Destination)
        for fault in _faults(definition.spec)
    ]


def _faults(spec: DestinationSpec) -> Iterator[str]:
    if (spec.secret_env is None) == (spec.secret_file is None):
        yield (
            "spec: a message is signed with a secret: name secret_env (a variable of activation) or secret_file (a file in the "
            "data directory), one of them"
        )
    if not spec.allow_private_addresses and _is_private(spec.url.host or ""):
        yield "spec.url: leads to a private address: set allow_private_addresses: true if that is meant"


def _is_private(host: str) -> bool:
    """Return whether a host is an address that is not public, or this machine. Other names are looked up when a message is sent."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
