"""Random segments, computed traits and lists: every leaf, every node, segments that name segments."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.definitions.kinds import AnyDefinition, parse_definition
from domain.segments.computed_traits import ComputedTraitSpec
from domain.segments.dates import parse_instant
from tests.support.random_values import (
    ACCOUNTS,
    CHANNELS,
    PROPERTIES,
    PURPOSES,
    TEXTS,
    TRAITS,
    WINDOWS,
    ZONES,
    random_date,
    random_event_name,
    random_scalar,
)

Document = dict[str, Any]
COMPUTED_KINDS: Final = tuple(ComputedTraitSpec.model_fields)
MAX_DEPTH: Final = 3
WEIGHTS: Final = {"trait": 4, "did": 3, "sequence": 3, "aggregate": 3, "calendar": 2}
ORDERINGS: Final = ("eq", "ne", "lt", "lte", "gt", "gte")


@dataclass(frozen=True)
class Vocabulary:
    """The names that definitions may use: nodes for lists, and the computed traits, lists and segments defined before."""

    rng: random.Random
    base_ms: int
    computed: Sequence[str] = ()
    lists: Sequence[str] = ()
    segments: Sequence[str] = ()
    register_bound: int | None = None
    groups: bool = False

    def maybe(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance


def random_definitions(
    rng: random.Random,
    base_ms: int,
    nodes: Sequence[str],
    segments: int = 30,
    *,
    register_bound: int | None = None,
    groups: bool = False,
) -> list[AnyDefinition]:
    """Return a random set of definitions.

    `register_bound` makes registers small; `groups` adds leaves over accounts and households.
    """
    documents: list[tuple[str, str, Document]] = [
        ("List", f"list-{n}", {"namespace": "user_id", "nodes": rng.sample(nodes, min(len(nodes), 8))}) for n in range(2)
    ]
    lists = [name for _, name, _ in documents]
    words = Vocabulary(rng, base_ms, register_bound=register_bound)
    kinds = [*COMPUTED_KINDS, *rng.choices(COMPUTED_KINDS, k=4)]
    traits = [(f"{kind.replace('_', '-')}-{n}", computed(words, kind)) for n, kind in enumerate(kinds)]
    traits += [(kind, computed(words, kind)) for kind in ("rfm", "lifecycle") if words.maybe()]
    documents += [("ComputedTrait", name, spec) for name, spec in traits]
    depths: dict[str, int] = {}
    for number in range(segments):
        shallow = [name for name, depth in depths.items() if depth < MAX_DEPTH]
        words = Vocabulary(rng, base_ms, [name for name, _ in traits], lists, shallow[-6:], register_bound, groups)
        condition = tree(words, rng.choice((0, 0, 1, 2)))
        name = f"s{number:03d}"
        depths[name] = 1 + max((depths[other] for other in shallow if f"'in_segment': '{other}'" in repr(condition)), default=-1)
        documents.append(("Segment", name, {"where": condition}))
    return [
        parse_definition({"apiVersion": "onefold/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}, name)
        for kind, name, spec in documents
    ]


def tree(words: Vocabulary, depth: int) -> Document:
    """Return a random condition with at most `depth` levels below it."""
    if depth == 0:
        node = leaf(words)
        return {"not": node} if words.maybe(0.2) else node
    kind = words.rng.choice(("all", "any", "not"))
    if kind == "not":
        return {"not": tree(words, depth - 1)}
    return {kind: [tree(words, words.rng.randint(0, depth - 1)) for _ in range(words.rng.randint(1, 3))]}


def leaf(words: Vocabulary) -> Document:
    """Return a random leaf of any kind."""
    keywords = [keyword for keyword in LEAVES if keyword not in ("account", "household") or words.groups]
    if not words.segments:
        keywords.remove("in_segment")
    weights = [WEIGHTS.get(keyword, 1) for keyword in keywords]
    [keyword] = words.rng.choices(keywords, weights)
    return {keyword: LEAVES[keyword](words)}


def comparison(words: Vocabulary, field: str) -> Document:
    """Return an `op`, its `value`, and sometimes `fold` where it is allowed."""
    rng = words.rng
    if field in ("signup", "on", "birthday") and words.maybe(0.4):
        return {"op": rng.choice(("before", "after")), "value": valid_date(words), **date_zone(words)}
    op = rng.choice((*ORDERINGS, "eq", "in", "contains", "starts_with", "exists"))
    if op == "exists":
        return {"op": op, **rng.choice(({}, {"value": True}, {"value": False}))}
    if op == "in":
        condition: Document = {"op": op, "value": [random_scalar(rng, field, words.base_ms) for _ in range(rng.randint(1, 4))]}
    elif op in ("contains", "starts_with") and words.maybe(0.7):
        condition = {"op": op, "value": rng.choice(("H", "hà", "Đ", "da", "i", "1", "", *TEXTS))}
    else:
        condition = {"op": op, "value": random_scalar(rng, field, words.base_ms)}
    if op in ("eq", "ne", "in", "contains", "starts_with") and words.maybe(0.25):
        condition["fold"] = True
    return condition


def date_zone(words: Vocabulary) -> Document:
    """Return the time zone of dates that name none, or nothing."""
    return {"zone": words.rng.choice(("Asia/Ho_Chi_Minh", "America/New_York"))} if words.maybe(0.4) else {}


def valid_date(words: Vocabulary) -> str:
    """Return a date that a definition accepts."""
    while parse_instant(date := random_date(words.rng, words.base_ms)) is None:
        pass
    return date


def where(words: Vocabulary, chance: float = 0.25) -> list[Document]:
    """Return conditions on properties, often none."""
    if not words.maybe(chance):
        return []
    fields = [words.rng.choice(PROPERTIES) for _ in range(words.rng.choice((1, 1, 2)))]
    return [{"prop": field, **comparison(words, field)} for field in fields]


def event_filter(words: Vocabulary, *, window: float = 0.6) -> Document:
    """Return a random `event`, `condition` and `within`."""
    spec: Document = {"event": random_event_name(words.rng), "where": where(words)}
    return spec | ({"within": words.rng.choice(WINDOWS)} if words.maybe(window) else {})


def trait(words: Vocabulary) -> Document:
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
            **date_zone(words),
        }
    return {"path": path, **comparison(words, path)}


def did(words: Vocabulary) -> Document:
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
    return event_filter(words) | times


def occurrence(words: Vocabulary) -> Document:
    spec = event_filter(words) | {"having": where(words, 0.5)}
    if words.maybe(0.4):
        longest = WINDOWS.index(spec["within"]) if "within" in spec else len(WINDOWS)
        if longest:
            spec["not_within"] = WINDOWS[words.rng.randrange(longest)]
    return spec


def aggregate(words: Vocabulary) -> Document:
    of = words.rng.choice(("sum", "avg", "min", "max", "distinct"))
    prop = words.rng.choice(("total", "total", "total", "cart_id", "category", "line.sku"))
    value = words.rng.randint(0, 4) if of == "distinct" else words.rng.choice((0, 1, 5, 10, 2.5, 0.3, 19.99, 100, -1))
    return (
        event_filter(words)
        | {"of": of, "prop": prop, "op": words.rng.choice(ORDERINGS), "value": value}
        | _with_register_bound(words)
    )


def _with_register_bound(words: Vocabulary) -> Document:
    return {} if words.register_bound is None else {"keep": words.register_bound}


def sequence(words: Vocabulary) -> Document:
    rng = words.rng
    second: Document = {"event": random_event_name(rng), "where": where(words, 0.1)}
    if words.maybe():
        second["within"] = rng.choice(WINDOWS)
    second["same"] = rng.choice(([], [], [], ["cart_id"], ["cart_id"], ["cart_id", "line.sku"], ["category"]))
    first = event_filter(words) | ({"pick": rng.choice(("last", "first", "any"))} if words.maybe(0.8) else {})
    return {"first": first, rng.choice(("then", "then_not")): second} | _with_register_bound(words)


def regularly(words: Vocabulary) -> Document:
    of = words.rng.randint(1, 6)
    return {
        "event": random_event_name(words.rng), "where": where(words, 0.2), "every": words.rng.choice(("6h", "1d", "2d", "7d")),
        "at_least": words.rng.randint(1, min(of, 3)), "of": of, "utc_offset": words.rng.choice(("+00:00", "+07:00", "-03:30")),
    }  # fmt: skip


def rfm(words: Vocabulary) -> Document:
    scores = {
        name: sorted(words.rng.sample(range(1, 6), words.rng.randint(1, 3)))
        for name in words.rng.sample(("recency", "frequency", "monetary"), words.rng.randint(1, 2))
    }
    return scores | _reference_to(words, "rfm")


def lifecycle(words: Vocabulary) -> Document:
    stages = ("visitor", "lead", "first_time", "active", "loyal", "at_risk", "lost", "won_back")
    return {"stage": words.rng.sample(stages, words.rng.randint(1, 3))} | _reference_to(words, "lifecycle")


def _reference_to(words: Vocabulary, kind: str) -> Document:
    named = [name for name in words.computed if name.startswith(kind)]
    return {"of": words.rng.choice(named)} if named and words.maybe(0.8) else {}


def calendar(words: Vocabulary) -> Document:
    rng = words.rng
    spec: Document = {"trait": rng.choice(("birthday", "birthday", "signup")), "zone": rng.choice(ZONES)}
    if words.maybe():
        spec |= {"before": rng.choice((0, 1, 3)), "days": rng.choice((1, 2, 5, 7))}
    return spec | ({"zone_trait": "address.city"} if words.maybe(0.1) else {})


def consent(words: Vocabulary) -> Document:
    return {"purpose": words.rng.choice(PURPOSES), "status": words.rng.choice(("granted", "denied", "unknown"))}


def subscribed(words: Vocabulary) -> Document:
    channel = words.rng.choice(CHANNELS)
    return {
        "channel": words.rng.choice((channel, channel.upper())),
        "status": words.rng.choice(("subscribed", "unsubscribed", "unknown")),
    }


def account(words: Vocabulary) -> Document:
    trait_condition: Document = {"trait": {"path": "plan", "value": words.rng.choice(ACCOUNTS)}}
    members = {"members": {"at_least": words.rng.randint(1, 3)}}
    return words.rng.choice((trait_condition, members, trait_condition | members))


def household(words: Vocabulary) -> Document:
    return words.rng.choice(
        (
            {"members": {"at_least": words.rng.randint(2, 3)}},
            {"trait": {"path": "city", **comparison(words, "city")}},
            {"did": {"event": random_event_name(words.rng), "at_least": words.rng.randint(1, 4)}},
        )
    )


LEAVES: Final[dict[str, Callable[[Vocabulary], Any]]] = {
    "trait": trait,
    "did": did,
    "did_not": event_filter,
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


def computed(words: Vocabulary, kind: str) -> Document:
    """Return the spec of a computed trait of that kind."""
    rng = words.rng
    spec = event_filter(words)
    match kind:
        case "count":
            spec |= _with_register_bound(words)
        case "sum" | "avg" | "min" | "max":
            spec |= {"prop": rng.choice(("total", "total", "cart_id"))} | _with_register_bound(words)
        case "most_frequent" | "unique":
            spec |= {"prop": rng.choice(("category", "cart_id", "line.sku", "total"))} | _with_register_bound(words)
        case "first" | "last":
            spec = {"event": spec["event"], "where": spec["where"], "prop": rng.choice(("category", "total", "on", "line.sku"))}
        case "days_since":
            spec = {"event": spec["event"], "where": spec["where"], "which": rng.choice(("first", "last"))}
        case "rfm":
            spec = {
                "event": spec["event"], "where": spec["where"], "prop": "total", "within": rng.choice(("3d", "7d")),
                "recency": ["6h", "1d", "2d", "3d"], "frequency": [2, 3, 4, 6], "monetary": [1, 5, 19.99, 100],
            } | _with_register_bound(words)  # fmt: skip
        case _:
            spec = {
                "event": spec["event"], "where": spec["where"], "loyal_orders": rng.randint(3, 4),
                "at_risk_after": rng.choice(("6h", "1d")), "lost_after": rng.choice(("2d", "3d")),
            }  # fmt: skip
    return {kind: spec}
