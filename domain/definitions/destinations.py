"""Find destinations that could never send a message. Pure."""

from collections.abc import Iterator, Mapping

from domain.definitions.kinds import Definition, Destination, DestinationSpec
from domain.public_addresses import is_loopback, is_public


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
    yield from unsafe_url_faults(spec)


def unsafe_url_faults(spec: DestinationSpec) -> Iterator[str]:
    """Yield a sentence for each thing about a destination's URL that gives messages or a password away and is not allowed."""
    if spec.url.scheme == "http" and not spec.allow_plain_http and not _is_this_machine(spec.url.host or ""):
        yield (
            "spec.url: http sends customers' data unencrypted: use https, or set allow_plain_http: true if something else protects "
            "the way there"
        )
    if (spec.url.username or spec.url.password) and not spec.allow_password_in_url:
        yield (
            "spec.url: has a user name or a password, which everybody can read who reads definitions: take it out, since the "
            "signature proves who sends, or set allow_password_in_url: true"
        )


def _is_private(host: str) -> bool:
    """Return whether a host is an address that is not public, or this machine. Other names are looked up when a message is sent."""
    try:
        return not is_public(_bare(host))
    except ValueError:
        return _is_this_machine(host)


def _is_this_machine(host: str) -> bool:
    name = _bare(host)
    try:
        return is_loopback(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
