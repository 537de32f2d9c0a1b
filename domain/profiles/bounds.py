"""The bounds of what a fragment and a profile keep: how many names, and which ones. Pure.

**Why.** Whoever has a public write key can name thousands of traits, events and identifiers of one customer. Each event is small
and right, but a fragment that kept all of them would grow without end, and with it every record that is made of it. So a fragment
keeps a bounded number of names. The rest stays in ClickHouse, which keeps every event.

**Invariant.** Which names stay follows from the set of events and from the definitions, never from the order of arrival. A name is
kept if a definition reads it, or if its rank is among the best `limit` ranks of all names that ever came. The rank is a hash of
the name itself, so it never changes. A name among the best of all was among the best of any part of them, so it was never dropped
on the way, and its value, its count or its times are complete. Hence cutting commutes with joining: it is commutative, associative
and idempotent, like the join itself. A limit of bytes cannot be had in this way, because the size of a value changes with every
event; instead each event's own sizes are bounded (`schemas.event_limits`), and so the number of names bounds the bytes.

Traits and identifiers that a trusted source has named come before all others, whatever their hashes: else whoever has a public
write key could name so many that they take the places. That changes nothing above. A name may become trusted later, but then what
it had as a public one counts no more, and the names before any other only become more.

**Example.** The limit is 2, and the ranks of the traits a, b, c, d are 1, 2, 3, 4. After d, c, a, b (in any order) a and b are
kept. If a segment reads d, then a, b and d are kept. The segment is removed: a and b. A new segment that reads c finds no value of
c in the fragment, so the backfill reads it from ClickHouse (`domain.profiles.name_seeds`).

How many names were dropped can be estimated from what is kept alone: hashes are spread evenly, so if the 250th smallest of them
lies at one thousandth of their range, there were about 250,000. (This is the sketch known as k minimum values.)
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from domain.segments.retained_names import RetainedNames
from schemas.hashes import text_hash
from schemas.records import TraitValue

MAX_TRAITS: Final = 250
"""How many traits are kept besides those that definitions read."""
MAX_COUNTERS: Final = 250
"""How many labels of events are counted besides those that definitions read."""
MAX_IDENTIFIERS: Final = 50
"""How many identifiers of each namespace are kept with their values. Evidence about the others counts all the same."""
MAX_LINKS: Final = 500
"""How many pairs of nodes a fragment remembers, so as not to publish them with every event. Others are published each time."""
_HASH_DIGITS: Final = 16
_HASH_RANGE: Final = 16**_HASH_DIGITS
_NO_NAMES: Final = frozenset[str]()


def retain_traits(traits: dict[str, TraitValue], retained: RetainedNames) -> int | None:
    """Drop the traits beyond MAX_TRAITS, in place, and return how many; None while there is room. Those in `retained` stay."""
    return _retain(traits, MAX_TRAITS, retained.traits, lambda name: f"{'01'[not traits[name].trusted]}{text_hash(name)}")


def retain_counters(counters: dict[str, int], retained: RetainedNames) -> int | None:
    """Drop the counters beyond MAX_COUNTERS, in place, and return how many; None while there is room. Those in `retained` stay."""
    return _retain(counters, MAX_COUNTERS, retained.labels, text_hash)


def retain_links(links: dict[str, Any]) -> None:
    """Drop the pairs beyond MAX_LINKS, in place. A key ends in the keyed hash of a node, which ranks it."""
    _retain(links, MAX_LINKS, _NO_NAMES, _node_hash)


def retain_identifiers(identifiers: dict[str, tuple[str, str]], public_nodes: Collection[str], owner: str = "") -> int | None:
    """Drop the nodes beyond MAX_IDENTIFIERS of their namespace, in place, and return how many; None while there is room.

    The owner's own node stays. `public_nodes` are those that no trusted source has named.
    """
    if len(identifiers) <= MAX_IDENTIFIERS:
        return None
    dropped, is_full = 0, False
    for nodes in _by_namespace(identifiers).values():
        # The owner counts like any other: its place depends on its node and its trust alone.
        for node in sorted(nodes, key=lambda node: (node in public_nodes, _node_hash(node)))[MAX_IDENTIFIERS:]:
            is_full = True
            if node != owner:
                del identifiers[node]
                dropped += 1
    return dropped if is_full else None


def estimate_dropped_traits(traits: Mapping[str, TraitValue]) -> int:
    """Return about how many traits were dropped beside these, which are what is kept of all of them; at least one."""
    return max(1, _estimate_dropped({text_hash(name): trait.trusted for name, trait in traits.items()}, MAX_TRAITS))


def estimate_dropped_counters(labels: Collection[str]) -> int:
    """Return about how many labels were dropped beside these, which are what is kept of all of them; at least one."""
    return max(1, _estimate_total(map(text_hash, labels), MAX_COUNTERS) - len(labels))


def estimate_dropped_identifiers(identifiers: Mapping[str, tuple[str, str]], public_nodes: Collection[str]) -> int:
    """Return about how many identifiers were dropped beside these, of all namespaces together; at least one."""
    dropped = (
        _estimate_dropped({_node_hash(node): node not in public_nodes for node in nodes}, MAX_IDENTIFIERS)
        for nodes in _by_namespace(identifiers).values()
    )
    return max(1, sum(dropped))


def _retain(names: dict[str, Any], limit: int, always: Collection[str], rank: Callable[[str], str]) -> int | None:
    if len(names) <= limit:
        return None
    # The name itself orders names of equal hashes.
    surplus = [name for name in sorted(names, key=lambda name: (rank(name), name))[limit:] if name not in always]
    for name in surplus:
        del names[name]
    return len(surplus)


def _node_hash(node: str) -> str:
    """Return the end of a node: digits of its keyed hash in every namespace."""
    return node[-_HASH_DIGITS:]


def _by_namespace(identifiers: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    nodes: dict[str, list[str]] = {}
    for node, (namespace, _) in identifiers.items():
        nodes.setdefault(namespace, []).append(node)
    return nodes


def _estimate_dropped(is_trusted: Mapping[str, bool], limit: int) -> int:
    """Return about how many names were dropped beside those of these hashes, of which the trusted ones had the first claim."""
    trusted, public = ([name for name, value in is_trusted.items() if value is trust] for trust in (True, False))
    if len(trusted) >= limit:  # of public ones nothing was kept that could tell
        return max(0, _estimate_total(trusted, limit) - len(trusted))
    return max(0, _estimate_total(public, limit - len(trusted)) - len(public))


def _estimate_total(hashes: Iterable[str], limit: int) -> int:
    """Return about how many different hashes there were, of which the smallest `limit` are given; 0 when fewer are given."""
    smallest = sorted(hashes)[:limit]
    return 0 if len(smallest) < limit else (limit - 1) * _HASH_RANGE // max(1, int(smallest[-1], 16))
