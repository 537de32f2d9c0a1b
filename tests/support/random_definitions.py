"""Random segments, computed traits and lists: every leaf, every node, segments that name segments."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.segments.computed_traits import ComputedTraitSpec
from domain.segments.comparisons import instant_of
from domain.definitions.kinds import AnyDefinition, parse
from tests.support.random_values import (ACCOUNTS, CHANNELS, PROPERTIES, PURPOSES, TEXTS, TRAITS, WINDOWS, ZONES, a_date, a_scalar, event_name)

Document = dict[str, Any]
COMPUTED_KINDS: Final = tuple(ComputedTraitSpec.model_fields)
MAX_DEPTH: Final = 3
WEIGHTS: Final = {"trait": 4, "did": 3, "sequence": 3, "aggregate": 3, "calendar": 2}
ORDERINGS: Final = ("eq", "ne", "lt", "lte", "gt", "gte")


@dataclass(frozen=True)
class Words:
    """What definitions may name: nodes for lists, and computed traits, lists and segments that are already there."""

    rng: random.Random
    base_ms: int
    computed: Sequence[str] = ()
    lists: Sequence[str] = ()
    segments: Sequence[str] = ()
    keep: int | None = None
    groups: bool = False

    def maybe(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance


def definitions(
    rng: random.Random, base_ms: int, nodes: Sequence[str], segments: int = 30, *, keep: int | None = None, groups: bool = False
) -> list[AnyDefinition]:
    """A random set of definitions. `keep` makes registers small, `groups` adds leaves over accounts and households."""
    found: list[tuple[str, str, Document]] = [
        ("List", f"list-{n}", {"namespace": "user_id", "nodes": rng.sample(nodes, min(len(nodes), 8))}) for n in range(2)
    ]
    lists = [name for _, name, _ in found]
    words = Words(rng, base_ms, keep=keep)
    kinds = [*COMPUTED_KINDS, *rng.choices(COMPUTED_KINDS, k=4)]
    traits = [(f"{kind.replace('_', '-')}-{n}", computed(words, kind)) for n, kind in enumerate(kinds)]
    traits += [(kind, computed(words, kind)) for kind in ("rfm", "lifecycle") if words.maybe()]
    found += [("ComputedTrait", name, spec) for name, spec in traits]
    depths: dict[str, int] = {}
    for number in range(segments):
        shallow = [name for name, depth in depths.items() if depth < MAX_DEPTH]
        words = Words(rng, base_ms, [name for name, _ in traits], lists, shallow[-6:], keep, groups)
        where = tree(words, rng.choice((0, 0, 1, 2)))
        name = f"s{number:03d}"
        depths[name] = 1 + max((depths[other] for other in shallow if f"'in_segment': '{other}'" in repr(where)), default=-1)
        found.append(("Segment", name, {"where": where}))
    return [
        parse({"apiVersion": "onefold/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}, name)
        for kind, name, spec in found
    ]


def tree(words: Words, depth: int) -> Document:
    """A node with at most so many levels below it."""
    if depth == 0:
        node = leaf(words)
        return {"not": node} if words.maybe(0.2) else node
    kind = words.rng.choice(("all", "any", "not"))
    if kind == "not":
        return {"not": tree(words, depth - 1)}
    return {kind: [tree(words, words.rng.randint(0, depth - 1)) for _ in range(words.rng.randint(1, 3))]}


def leaf(words: Words) -> Document:
    """Any leaf."""
    keywords = [keyword for keyword in LEAVES if keyword not in ("account", "household") or words.groups]
    if not words.segments:
        keywords.remove("in_segment")
    weights = [WEIGHTS.get(keyword, 1) for keyword in keywords]
    [keyword] = words.rng.choices(keywords, weights)
    return {keyword: LEAVES[keyword](words)}


def comparison(words: Words, field: str) -> Document:
    """An `op`, its `value`, and `fold` where it may stand."""
    rng = words.rng
    if field in ("signup", "on", "birthday") and words.maybe(0.4):
        return {"op": rng.choice(("before", "after")), "value": a_date_that_is_one(words)}
    op = rng.choice((*ORDERINGS, "eq", "in", "contains", "starts_with", "exists"))
    if op == "exists":
        return {"op": op, **rng.choice(({}, {"value": True}, {"value": False}))}
    if op == "in":
        said: Document = {"op": op, "value": [a_scalar(rng, field, words.base_ms) for _ in range(rng.randint(1, 4))]}
    elif op in ("contains", "starts_with") and words.maybe(0.7):
        said = {"op": op, "value": rng.choice(("H", "hà", "Đ", "da", "i", "1", "", *TEXTS))}
    else:
        said = {"op": op, "value": a_scalar(rng, field, words.base_ms)}
    if op in ("eq", "ne", "in", "contains", "starts_with") and words.maybe(0.25):
        said["fold"] = True
    return said


def a_date_that_is_one(words: Words) -> str:
    """A date that a definition may hold."""
    while instant_of(found := a_date(words.rng, words.base_ms)) is None:
        pass
    return found


def where(words: Words, chance: float = 0.25) -> list[Document]:
    """Conditions on properties, often none."""
    if not words.maybe(chance):
        return []
    fields = [words.rng.choice(PROPERTIES) for _ in range(words.rng.choice((1, 1, 2)))]
    return [{"prop": field, **comparison(words, field)} for field in fields]


def events(words: Words, *, window: float = 0.6) -> Document:
    """`event`, `where`, `within`."""
    said: Document = {"event": event_name(words.rng), "where": where(words)}
    return said | ({"within": words.rng.choice(WINDOWS)} if words.maybe(window) else {})


def trait(words: Words) -> Document:
    rng = words.rng
    if words.computed and words.maybe(0.35):
        path = f"computed.{rng.choice(words.computed)}{rng.choice(('', '', '.score', '.recency'))}"
        return {"path": path, **comparison(words, rng.choice(("total", "total", "category", "on")))}
    path = rng.choice((*TRAITS, "city", "signup", "signup"))
    if path == "signup" and words.maybe(0.7):
        return {
            "path": path,
            "op": rng.choice(("within_last", "within_next", "more_than_ago", "more_than_ahead")),
            "value": rng.choice(WINDOWS),
        }
    return {"path": path, **comparison(words, path)}


def did(words: Words) -> Document:
    rng = words.rng
    times = rng.choice(
        (
            {},
            {"at_least": rng.randint(1, 4)},
            {"at_most": rng.randint(0, 3)},
            {"exactly": rng.randint(0, 3)},
            {"at_least": rng.randint(1, 2), "at_most": rng.randint(2, 4)},
        )
    )
    return events(words) | times


def occurrence(words: Words) -> Document:
    said = events(words) | {"having": where(words, 0.5)}
    if words.maybe(0.4):
        longest = WINDOWS.index(said["within"]) if "within" in said else len(WINDOWS)
        if longest:
            said["not_within"] = WINDOWS[words.rng.randrange(longest)]
    return said


def aggregate(words: Words) -> Document:
    of = words.rng.choice(("sum", "avg", "min", "max", "distinct"))
    prop = words.rng.choice(("total", "total", "total", "cart_id", "category", "line.sku"))
    value = words.rng.randint(0, 4) if of == "distinct" else words.rng.choice((0, 1, 5, 10, 2.5, 0.3, 19.99, 100, -1))
    return events(words) | {"of": of, "prop": prop, "op": words.rng.choice(ORDERINGS), "value": value} | _kept(words)


def _kept(words: Words) -> Document:
    return {} if words.keep is None else {"keep": words.keep}


def sequence(words: Words) -> Document:
    rng = words.rng
    second: Document = {"event": event_name(rng), "where": where(words, 0.1)}
    if words.maybe():
        second["within"] = rng.choice(WINDOWS)
    second["same"] = rng.choice(([], [], [], ["cart_id"], ["cart_id"], ["cart_id", "line.sku"], ["category"]))
    first = events(words) | ({"pick": rng.choice(("last", "first", "any"))} if words.maybe(0.8) else {})
    return {"first": first, rng.choice(("then", "then_not")): second} | _kept(words)


def regularly(words: Words) -> Document:
    of = words.rng.randint(1, 6)
    return {
        "event": event_name(words.rng), "where": where(words, 0.2), "every": words.rng.choice(("6h", "1d", "2d", "7d")),
        "at_least": words.rng.randint(1, min(of, 3)), "of": of, "utc_offset": words.rng.choice(("+00:00", "+07:00", "-03:30")),
    }  # fmt: skip


def rfm(words: Words) -> Document:
    asked = {
        name: sorted(words.rng.sample(range(1, 6), words.rng.randint(1, 3)))
        for name in words.rng.sample(("recency", "frequency", "monetary"), words.rng.randint(1, 2))
    }
    return asked | _of(words, "rfm")


def lifecycle(words: Words) -> Document:
    stages = ("visitor", "lead", "first_time", "active", "loyal", "at_risk", "lost", "won_back")
    return {"stage": words.rng.sample(stages, words.rng.randint(1, 3))} | _of(words, "lifecycle")


def _of(words: Words, kind: str) -> Document:
    named = [name for name in words.computed if name.startswith(kind)]
    return {"of": words.rng.choice(named)} if named and words.maybe(0.8) else {}


def calendar(words: Words) -> Document:
    rng = words.rng
    said: Document = {"trait": rng.choice(("birthday", "birthday", "signup")), "zone": rng.choice(ZONES)}
    if words.maybe():
        said |= {"before": rng.choice((0, 1, 3)), "days": rng.choice((1, 2, 5, 7))}
    return said | ({"zone_trait": "address.city"} if words.maybe(0.1) else {})


def consent(words: Words) -> Document:
    return {"purpose": words.rng.choice(PURPOSES), "status": words.rng.choice(("granted", "denied", "unknown"))}


def subscribed(words: Words) -> Document:
    channel = words.rng.choice(CHANNELS)
    return {
        "channel": words.rng.choice((channel, channel.upper())),
        "status": words.rng.choice(("subscribed", "unsubscribed", "unknown")),
    }


def account(words: Words) -> Document:
    asked: Document = {"trait": {"path": "plan", "value": words.rng.choice(ACCOUNTS)}}
    members = {"members": {"at_least": words.rng.randint(1, 3)}}
    return words.rng.choice((asked, members, asked | members))


def household(words: Words) -> Document:
    return words.rng.choice(
        (
            {"members": {"at_least": words.rng.randint(2, 3)}},
            {"trait": {"path": "city", **comparison(words, "city")}},
            {"did": {"event": event_name(words.rng), "at_least": words.rng.randint(1, 4)}},
        )
    )


LEAVES: Final[dict[str, Callable[[Words], Any]]] = {
    "trait": trait,
    "did": did,
    "did_not": events,
    "first": occurrence,
    "last": occurrence,
    "aggregate": aggregate,
    "sequence": sequence,
    "regularly": regularly,
    "in_segment": lambda words: words.rng.choice(words.segments),
    "list": lambda words: words.rng.choice((*words.lists, "no-such-list")),
    "percent": lambda words: {"of": words.rng.choice((12.5, 50, 99.99)), "salt": words.rng.choice(("a", "mùa:hè"))},
    "rfm": rfm,
    "lifecycle": lifecycle,
    "consent": consent,
    "subscribed": subscribed,
    "calendar": calendar,
    "account": account,
    "household": household,
    "everyone": lambda _: True,
}


def computed(words: Words, kind: str) -> Document:
    """The spec of a computed trait of that kind."""
    rng = words.rng
    said = events(words)
    match kind:
        case "count":
            said |= _kept(words)
        case "sum" | "avg" | "min" | "max":
            said |= {"prop": rng.choice(("total", "total", "cart_id"))} | _kept(words)
        case "most_frequent" | "unique":
            said |= {"prop": rng.choice(("category", "cart_id", "line.sku", "total"))} | _kept(words)
        case "first" | "last":
            said = {"event": said["event"], "where": said["where"], "prop": rng.choice(("category", "total", "on", "line.sku"))}
        case "days_since":
            said = {"event": said["event"], "where": said["where"], "which": rng.choice(("first", "last"))}
        case "rfm":
            said = {
                "event": said["event"], "where": said["where"], "prop": "total", "within": rng.choice(("3d", "7d")),
                "recency": ["6h", "1d", "2d", "3d"], "frequency": [2, 3, 4, 6], "monetary": [1, 5, 19.99, 100],
            } | _kept(words)  # fmt: skip
        case _:
            said = {
                "event": said["event"], "where": said["where"], "loyal_orders": rng.randint(3, 4),
                "at_risk_after": rng.choice(("6h", "1d")), "lost_after": rng.choice(("2d", "3d")),
            }  # fmt: skip
    return {kind: said}
