"""The namespaces of identifiers: the shipped ones, and those of one's own that the identity rules declare. Pure.

A namespace has a rank (how strong it is), an order as owner and a normal form. Those of the shipped ones are fixed. One's own are
fixed from the moment that they are declared, because nodes, owners and spellings of past events were made by them; so declaring
one changes nothing that is stored, and no store is rebuilt for it.

Example: `loyalty_card: {rank: 1, normalise: digits}` makes `4000 1234-5678` and `400012345678` one identifier. It is weaker than
a `crm_id` and stronger than an `email`, and an event of a card and a cookie belongs to the card.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import re2

from domain.identity.identifier_values import SHIPPED_FORMS, NormalForm, normalise_as
from domain.text_caches import cached_texts
from schemas.identifiers import NAMESPACE_RANK, OWNER_ORDER, Identifier, is_own, namespace_key, namespace_of, node, pick_owner


@dataclass(frozen=True, slots=True)
class OwnNamespace:
    """A namespace that the rules declare. `rank` and `owner_order` are those of the shipped namespace that it comes behind."""

    name: str
    rank: int
    owner_order: int
    form: NormalForm = "text"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The shipped namespaces, and `own` by their names."""

    own: Mapping[str, OwnNamespace] = field(default_factory=dict)

    @classmethod
    def of(cls, own: Iterable[OwnNamespace]) -> "Namespaces":
        """Return the shipped namespaces and these."""
        return cls({namespace.name: namespace for namespace in own})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all namespaces, the shipped ones first."""
        return (*NAMESPACE_RANK, *self.own)

    def __contains__(self, name: object) -> bool:
        return name in NAMESPACE_RANK or name in self.own

    def normalise(self, name: str, value: str, default_country: str) -> str | None:
        """Return the one spelling of a value of a namespace, None when it cannot be one. Raises KeyError for an unknown name."""
        form = SHIPPED_FORMS.get(name, "text") if name in NAMESPACE_RANK else self.own[name].form
        return normalise_as(form, value, default_country)

    def node(self, secret: bytes, identifier: Identifier) -> str:
        """Return the node of a normalised identifier. Raises KeyError for an unknown namespace."""
        return node(secret, identifier, {name: own.rank for name, own in self.own.items()})

    def identify(self, name: str, value: str, secret: bytes, default_country: str) -> tuple[Identifier, str] | None:
        """Return the normalised identifier and its node, None for a value that cannot be one. Raises KeyError.

        The result is cached, because the same people come again and again.
        """
        return _identify(name, value, secret, default_country, None if name in NAMESPACE_RANK else self.own[name])

    def pick_owner(self, identifiers: Sequence[Identifier]) -> Identifier | None:
        """Return the identifier whose fragment an event belongs to, None for an event without identifiers."""
        return pick_owner(identifiers, {name: own.owner_order for name, own in self.own.items()})

    def name_of(self, node_id: str) -> str:
        """Return the name of a node's namespace; the tag in the node when nothing declares it any more."""
        return self.name_of_key(namespace_of(node_id))

    def name_of_key(self, key: str) -> str:
        """Return the name of a namespace by its key (see `namespace_key`); the key itself when nothing declares it any more."""
        return next((name for name in self.own if namespace_key(name) == key), key)

    def is_undeclared(self, node_id: str) -> bool:
        """Return whether a node is of a namespace that was declared once and is not any more."""
        return is_own(node_id) and all(namespace_key(name) != namespace_of(node_id) for name in self.own)


@cached_texts("identifiers", weight=6)
def _identify(
    name: str, value: str, secret: bytes, default_country: str, own: OwnNamespace | None
) -> tuple[Identifier, str] | None:
    namespaces = SHIPPED_NAMESPACES if own is None else Namespaces.of([own])
    normalised = namespaces.normalise(name, value, default_country)
    return None if normalised is None else ((name, normalised), namespaces.node(secret, (name, normalised)))


SHIPPED_NAMESPACES: Final = Namespaces()
"""The namespaces that there are without identity rules."""
NAMESPACE_PATTERN: Final = r"^[a-z][a-z0-9_]{0,62}$"
_NAMESPACE_NAME: Final = re2.compile(NAMESPACE_PATTERN)
_RESERVED: Final = """
    event time timestamp message_id type traits properties context identifiers source name profile household account node id"""
RESERVED_NAMES: Final = frozenset(_RESERVED.split())
"""Names that mean something else where identifiers are named: in calls, in the columns of files, in answers."""
MAX_RANK: Final = max(NAMESPACE_RANK.values())
MAX_OWNER_ORDER: Final = len(OWNER_ORDER)


def is_namespace_name(name: str) -> bool:
    """Return whether a text can be the name of a namespace, whether the rules declare it or not."""
    return name.isascii() and _NAMESPACE_NAME.fullmatch(name) is not None


def unknown_namespace(name: str, namespaces: Namespaces) -> str:
    """Return a sentence on a namespace that does not exist, with the cure. The name is a definition's own, not a person's."""
    return f"{name} is no namespace: use one of {', '.join(namespaces.names)}, or declare it in the identity rules"


def owner_order_of_rank(rank: int) -> int:
    """Return the order as owner, from 1, of the shipped namespace with a rank."""
    return next(OWNER_ORDER.index(name) + 1 for name, shipped_rank in NAMESPACE_RANK.items() if shipped_rank == rank)
