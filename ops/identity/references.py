"""References to identifiers and profiles as people write them, and nodes as people read them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from domain.identity.clusters import Evidence
from domain.identity.namespaces import SHIPPED_NAMESPACES, Namespaces
from domain.identity.placeholders import is_blocked
from domain.letters import unicode_form
from domain.profiles.fragment import decode_fragment
from profile_store.port import ProfileStore
from runtime.errors import Invalid
from runtime.settings import Settings
from schemas.identifiers import NAMESPACE_RANK, Identifier, namespace_of

NODE_DIGITS: Final = 32
MAX_TEXT_CHARS: Final = 2_048
MAX_FRAGMENTS: Final = 2_000
"""The largest number of fragments that are read to find the values of nodes."""
IdentifiersByNode = Mapping[str, Identifier]
"""node → (namespace, value), for the nodes whose value was found."""


@dataclass(frozen=True, slots=True)
class NodeReference:
    """A node that a request refers to; `identifier` is None when it was given as a node."""

    node: str
    identifier: Identifier | None = None

    @property
    def identifiers(self) -> dict[str, Identifier]:
        """The identifier of the node, if the reference had one."""
        return {} if self.identifier is None else {self.node: self.identifier}


def is_node(text: str) -> bool:
    """Return whether a text has the form of a node or a profile id."""
    return len(text) == NODE_DIGITS and set(text) <= set("0123456789abcdef") and int(text[0], 16) < len(NAMESPACE_RANK)


def parse_reference(
    text: str, settings: Settings, path: str = "identifier", namespaces: Namespaces = SHIPPED_NAMESPACES
) -> NodeReference:
    """Return the node of `namespace:value`, or of 32 hexadecimal digits. Raises Invalid; `path` names the field."""
    if is_node(text):
        return NodeReference(text)
    namespace, colon, value = text.partition(":")
    if not colon or len(text) > MAX_TEXT_CHARS:
        raise Invalid(f"{path} is neither namespace:value nor a profile id of 32 hexadecimal digits", path=path, reason="malformed")
    if namespace not in namespaces:
        names = ", ".join(namespaces.names)
        raise Invalid(f"{path} has an unknown namespace: use one of {names}", path=path, reason="unknown_namespace")
    secret = settings.tenant_key
    identifier_and_node = namespaces.identify(namespace, value, secret, settings.default_country)
    if identifier_and_node is None and is_blocked(unicode_form("NFC", value).strip()):
        raise Invalid(
            f"{path} is a placeholder such as null, 0 or test@test.com: it never counts as an identifier",
            path=path,
            reason="blocked_value",
        )
    if identifier_and_node is None:
        raise Invalid(
            f"{path} is not a valid {namespace}: its value is empty, too long, malformed or a filler",
            path=path,
            reason="unusable_value",
        )
    identifier, node_id = identifier_and_node
    return NodeReference(node_id, identifier)


async def read_identifiers(store: ProfileStore, evidence: Evidence, nodes: Iterable[str]) -> dict[str, Identifier]:
    """Read the identifiers that these nodes stand for, from their own fragments and those of the events that first named them.

    Raises Transient.
    """
    requested = set(nodes)
    owners = {edge.owner for key, edge in evidence.edges.items() if edge.owner and not requested.isdisjoint(key)}
    fragments_to_read = [*sorted(requested), *sorted(owners - requested)][:MAX_FRAGMENTS]
    identifiers: dict[str, Identifier] = {}
    for document in (await store.documents("fragment", fragments_to_read)).values():
        if document.data is not None:
            stored = decode_fragment(document.data).identifiers
            identifiers |= {name: stored[name] for name in stored.keys() & requested}
    return identifiers


def node_to_json(node_id: str, identifiers: IdentifiersByNode) -> dict[str, Any]:
    """Return a node as JSON; its value is null when no stored event names it."""
    namespace, value = identifiers.get(node_id, (namespace_of(node_id), None))
    return {"node": node_id, "namespace": namespace, "value": value}


def render_node(node: Mapping[str, Any]) -> str:
    """Return a node of an answer as text: namespace:value, or the namespace and the node if the answer has no value."""
    return f"{node['namespace']}:{node['value']}" if node["value"] is not None else f"{node['namespace']} {node['node']}"


def format_instant(at_ms: int) -> str:
    """Return an instant as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1_000:03d}Z"
