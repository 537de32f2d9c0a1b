"""Answers about segments for a terminal. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from domain.segments.phrases import format_value
from ops.cli.terminal import escape_controls

JsonObject = Mapping[str, Any]
_CAUSES: Final = {
    "approximate": "{} differ by an approximation: more happened than a leaf keeps (`keep` in its definition).",
    "stale": "{} differ because they were not evaluated after their profile had changed.",
    "registers": "{} differ because the profile's registers contradict history.",
}
_MARKS: Final = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "")}
_UNITS: Final = ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
_NO_HISTORY: Final = "ClickHouse does not answer, or not for all events: some are shown by their times alone."
_NOT_EVALUATED: Final = "The stored membership was evaluated by earlier definitions."
_APPROXIMATE: Final = "Approximate: more happened than a leaf keeps (`keep` in its definition). ClickHouse counts everything."


def why(answer: JsonObject) -> RenderableType:
    """Return the answer to `why` about one segment."""
    verdict = "is in" if answer["member"] else "is not in"
    head = [Text(f"{answer['profile_id']} {verdict} {answer['segment']} (version {answer['version']})", "bold")]
    head.append(_text(_next_change(answer, "leaves" if answer["member"] else "enters")))
    tree = Tree(_node(answer["tree"]), guide_style="dim")
    _add_children(tree, answer["tree"])
    return Group(*head, tree, *map(_text, _stored(answer)), *(_text(note, "yellow") for note in _notes(answer)))


def overview(answer: JsonObject) -> RenderableType:
    """Return the table of all segments of a profile."""
    table = Table(Column("segment", overflow="fold"), "", "since", Column("changes by itself", overflow="fold"), box=None)
    for row in answer["segments"]:
        mark, style = _MARKS[row["member"]]
        turns = "" if row["turns"] is None else f"{row['turns']} ({time_ahead(row['turns_in_ms'])})"
        table.add_row(_text(row["name"]), Text(mark, style), row["since"] or "", turns)
    differ = [row["name"] for row in answer["segments"] if not row["agrees"]]
    notes = [_text(f"The stored membership differs: {', '.join(differ)}", "yellow")] if differ else []
    notes += [_text(_NOT_EVALUATED, "yellow")] if not answer["evaluated"] else []
    return Group(Text(f"{answer['profile_id']} at {answer['at']}", "bold"), table, *notes)


def verification(answer: JsonObject) -> RenderableType:
    """Return the answer to `verify`."""
    right_aligned = {"justify": "right"}
    head = Column("segment", overflow="fold"), *(Column(name, **right_aligned) for name in ("both", "only stream", "only SQL"))  # type: ignore[arg-type]  # a literal
    table = Table(*head, box=None)
    for row in answer["segments"]:
        style = "yellow" if row["only_stream"] or row["only_sql"] else ""
        table.add_row(_text(row["name"]), *(f"{row[name]:,}" for name in ("both", "only_stream", "only_sql")), style=style)
    title = "Stream and SQL agree" if answer["agrees"] else "Stream and SQL differ"
    headline = f"{title}, at {answer['at']} (compared {answer['looks']} time{'s' if answer['looks'] > 1 else ''})"
    tables = [table] if answer["segments"] else []
    tables += [_traits_table(answer["traits"])] if answer["traits"] else []
    return Group(Text(headline, "bold"), *tables, *(_text(line, "yellow") for line in _drift(answer)))


def _traits_table(rows: Iterable[JsonObject]) -> Table:
    table = Table("computed trait", Column("equal", justify="right"), Column("differ", justify="right"), box=None)
    for row in rows:
        table.add_row(_text(row["name"]), f"{row['equal']:,}", f"{row['differing']:,}", style="yellow" if row["differing"] else "")
    return table


def _drift(answer: JsonObject) -> Iterable[str]:
    if answer["repaired"]:
        yield f"{answer['repaired']:,} profiles were evaluated again (cause reconcile)."
    causes = {name: sum(row["causes"][name] for row in (*answer["segments"], *answer["traits"])) for name in _CAUSES}
    yield from (text.format(f"{causes[name]:,}") for name, text in _CAUSES.items() if causes[name])
    for row in answer["segments"]:
        for leaf in row["approximate_leaves"]:
            yield f"  {row['name']}: {leaf['text']} ({leaf['profiles']:,})"
    if not answer["agrees"]:
        yield "To see why a profile differs: `onefold segments why PROFILE SEGMENT`. To list the profiles: `--json`."
        if answer["repaired"] is None:
            yield "To repair them: `onefold segments verify --repair`."
        else:
            yield "They still differ: `onefold rebuild profiles` computes the registers from history."


def time_ahead(length_ms: int) -> str:
    """Return a length of time as in `in 29 min`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if length_ms >= 2 * size), (1_000, "s"))
    return f"in {length_ms // size} {unit}"


def _next_change(shaped: JsonObject, verb: str) -> str:
    if shaped["turns"] is None:
        unchanged = "It stays so until something happens."
        followed_until = shaped.get("followed_until")
        return unchanged if followed_until is None else f"It stays so at least until {followed_until}, if nothing happens."
    return f"If nothing happens it {verb} at {shaped['turns']} ({time_ahead(shaped['turns_in_ms'])})."


def _add_children(tree: Tree, node: JsonObject) -> None:
    for group in node.get("events", ()):
        _events(tree, group)
    for child in node["inside"]:
        _add_children(tree.add(_node(child)), child)


def _events(tree: Tree, group: JsonObject) -> None:
    for event in group["shown"]:
        tree.add(_text(_event(event), "dim"))
    remaining = group["count"] - len(group["shown"])
    if remaining > 0 and group["shown"]:
        tree.add(_text(f"… and {remaining:,} earlier", "dim"))


def _event(event: JsonObject) -> str:
    if "id" not in event:
        return f"{event['time']} (not in ClickHouse)"
    name = event["name"] or f"${event['type']}"
    value = f": {format_value(event['value'])}" if event.get("value") is not None else ""
    return f"{event['time']} {name} {event['id']}{value}"


def _node(node: JsonObject) -> Text:
    mark, style = _MARKS[node["holds"]]
    text = Text(f"{mark} ", style).append(escape_controls(node["text"]), "bold" if node["holds"] is False else "")
    details = [f"found {_observed(node)}"] if "value" in node else []
    if node["turns"] is not None:
        details.append(f"changes at {node['turns']} ({time_ahead(node['turns_in_ms'])})")
    elif node["holds"] is None and node["may_change"] is not None:
        details.append(f"may change at {node['may_change']}")
    if node.get("approximate"):
        details.append("approximate")
    return text.append("\n  " + escape_controls("; ".join(details)), "cyan") if details else text


def _observed(node: JsonObject) -> str:
    value = node["value"]
    if node["node"] == "list":
        return "it is on the list" if value else "it is not on the list"
    return f"{format_value(value)}{' or more' if node['or_more'] else ''}"


def _stored(answer: JsonObject) -> Iterable[str]:
    membership, transition = answer["stored"], answer["transition"]
    if membership is None:
        yield "Stored: never a member."
    else:
        state = "a member" if membership["member"] else "no member"
        yield f"Stored: {state} since {membership['since']} (number {membership['seq']})."
    if transition is not None:
        event = transition["event"]
        caused_by = "" if event is None else f", by {event.get('name') or event.get('type', 'the event')} {event['id']}"
        version = transition["version"] or "-"
        cause = f"{transition['cause']}{caused_by}"
        yield f"Last transition: {transition['op']} at {transition['at']}, cause {cause}, version {version}."


def _notes(answer: JsonObject) -> Iterable[str]:
    if not answer["agrees"]:
        yield "The stored membership differs from this: an event may be on its way; else `onefold segments verify`."
    if not answer["evaluated"]:
        yield _NOT_EVALUATED
    if answer["approximate"]:
        yield _APPROXIMATE
    if not answer["history"]:
        yield _NO_HISTORY


def _text(line: str, style: str = "") -> Text:
    return Text(escape_controls(line), style)
