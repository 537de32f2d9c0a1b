"""Answers about identity as lines for a terminal. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

from ops.identity.references import render_node

_WIDTH: Final = 80
JsonObject = Mapping[str, Any]
_NO_HISTORY: Final = "ClickHouse does not answer, so this answer lacks the contents of events and the authors of decisions."
_NOT_SETTLED: Final = (
    "The link agent has not applied this yet, or has other rules: the stored profiles may differ from this answer."
)
_OUTCOMES: Final = {"joined": "joined", "confirmed": "confirmed", "left_out": "left out"}


def why(answer: JsonObject) -> list[str]:
    """Return the lines of the answer to `why`."""
    a, b = answer["a"], answer["b"]
    verdict = answer["verdict"]
    if verdict == "same":
        return [f"{render_node(a)} and {render_node(b)} are one identifier, of profile {a['profile_id']}.", *_notes(answer)]
    if verdict == "together":
        lines = [
            f"{render_node(a)} and {render_node(b)} are one profile, {a['profile_id']}: this evidence joined them.",
            *_steps(answer["path"]),
        ]
        return [*lines, *_direct(answer), *_notes(answer)]
    lines = [f"{render_node(a)} and {render_node(b)} are not one profile."]
    lines += [
        f"  {render_node(identifier)} " + (f"is in profile {identifier['profile_id']}" if identifier["seen"] else "was never seen")
        for identifier in (a, b)
    ]
    if verdict == "never_together":
        return [
            *lines,
            "No evidence connects them: no event has named them, or other identifiers of their profiles, together.",
            *_notes(answer),
        ]
    lines.append("What connects them, and why it does not join them:")
    return [*lines, *_steps(answer["path"]), *_direct(answer), *_notes(answer)]


def how(answer: JsonObject) -> list[str]:
    """Return the lines of the answer to `how`."""
    order = {"last": "the latest first", "first": "the earliest first"}[answer["prefer"]]
    lines = [f"Profile {answer['profile_id']}", *(f"  {render_node(identifier)}" for identifier in answer["identifiers"])]
    if not answer["turns"]:
        return [*lines, "It was never seen together with another identifier.", *_notes(answer)]
    lines.append(f"Its evidence in the order in which it counts, trusted before public, {order}:")
    for number, turn in enumerate(answer["turns"], 1):
        lines += _step(number, turn, _OUTCOMES[turn["outcome"]])
    return [*lines, *_notes(answer)]


def decision(answer: JsonObject) -> list[str]:
    """Return the lines of the answer to `cut`, `split` and `undo`."""
    of = f" of {answer['of']}" if answer["of"] else ""
    lines = [f"operation {answer['operation']}: {answer['action']}{of}, by {answer['by']} at {answer['at']}"]
    for decided_pair in answer["pairs"]:
        what = {"cut": "the evidence between them is cut", "apart": "they are kept apart"}[decided_pair["kind"]]
        taken_back = {"cut": "the evidence between them counts again", "apart": "they need not stay apart any more"}[
            decided_pair["kind"]
        ]
        lines.append(
            f"  {render_node(decided_pair['a'])} and {render_node(decided_pair['b'])}: {what if answer['on'] else taken_back}"
        )
    if not answer["applied"]:
        return [
            *lines,
            "The decision is in the log, but the link agent has not applied it yet: see `onefold status`, then `identity why`.",
        ]
    lines.append("The profiles are now:")
    lines += [f"  {one['profile_id']}: {', '.join(map(render_node, one['identifiers']))}" for one in answer["profiles"]]
    if answer.get("mixed"):
        lines.append(
            "Evidence outside of the profile still joins identifiers of both parts: "
            f"see `onefold identity how` of {', '.join(answer['mixed'])}"
        )
    if "why" in answer and answer["why"]["together"]:
        lines += ["Other evidence still joins the two:", *_steps(answer["why"]["path"])]
    return lines


def operations(entries: Sequence[JsonObject]) -> list[str]:
    """Return the lines of the list of decisions, which 80 columns hold: an id alone, then what was decided, by whom and why."""
    lines: list[str] = []
    for entry in entries:
        of = f" of {entry['of']}" if entry["of"] else ""
        pairs = "1 pair" if entry["pairs"] == 1 else f"{entry['pairs']:,} pairs"
        lines.append(f"{entry['operation']}  {entry['at']}")
        lines += wrap(f"{entry['action']}{of}, {pairs}, by {entry['by']}", _WIDTH, initial_indent="  ", subsequent_indent="  ")
        lines += wrap(f"because: {entry['reason']}", _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def preview(answer: JsonObject) -> list[str]:
    """Return the lines of the answer to `preview`."""
    lines = [f"{answer['merges']:,} merges, {answer['splits']:,} splits, {answer['regroups']:,} regroupings of several profiles"]
    lines.append(f"  {'':<24}{'now':>12}{'then':>12}")
    rows = (("profiles", "profiles"), ("largest", "largest profile"), ("blocked", "blocked values"))
    for name, title in (*rows, ("generic", "generic values"), ("crowded", "crowded values")):
        lines.append(f"  {title:<24}{answer['now'][name]:>12,}{answer['then'][name]:>12,}")
    for change in answer["changes"]:
        lines.append(f"{change['kind']}:")
        lines += [f"  from {_cluster(cluster)}" for cluster in change["from"]]
        lines += [f"  to   {_cluster(cluster)}" for cluster in change["to"]]
    remaining = answer["merges"] + answer["splits"] + answer["regroups"] - len(answer["changes"])
    return [*lines, f"… and {remaining:,} more: see --limit"] if remaining > 0 else lines


def _cluster(cluster: JsonObject) -> str:
    shown_identifiers = ", ".join(render_node(identifier) for identifier in cluster["identifiers"])
    remaining = cluster["size"] - len(cluster["identifiers"])
    return f"{cluster['profile_id']} ({cluster['size']:,}): {shown_identifiers}" + (f" and {remaining:,} more" if remaining else "")


def _steps(steps: Sequence[JsonObject]) -> list[str]:
    return [line for number, step in enumerate(steps, 1) for line in _step(number, step)]


def _step(number: int, step: JsonObject, outcome: str = "") -> list[str]:
    refused = step["refused"]
    mark = "✗" if refused else "─"
    lines = [f"  {number}. {render_node(step['from'])} {mark} {render_node(step['to'])}" + (f": {outcome}" if outcome else "")]
    lines.append(f"     first seen {step['first_seen']} {_event(step['first_event'])}")
    if step["last_event"]["id"] != step["first_event"]["id"]:
        lines.append(f"     last seen  {step['last_seen']} {_event(step['last_event'])}")
    lines.append(f"     source {step['source']} ({_trust(step)}), rule {step['rule']}, identity rules {step['rules'] or 'default'}")
    if refused:
        lines.append(f"     joins nothing: {refused['text']}")
        lines += [
            f"       before it: {render_node(link['from'])} ─ {render_node(link['to'])} ({_trust(link)}), "
            f"last seen {link['last_seen']}"
            for link in refused.get("joined_before", ())
        ]
    return lines


def _trust(evidence: JsonObject) -> str:
    return "trusted" if evidence["trusted"] else "public"


def _event(event: JsonObject) -> str:
    name = f" {event['name']}" if event.get("name") else ""
    kind = f" ({event['type']}{name}, received {event['received']})" if "type" in event else ""
    return f"in event {event['id']}{kind}"


def _direct(answer: JsonObject) -> Iterable[str]:
    direct = answer["direct"]
    if direct is None or len(answer["path"]) == 1:
        return ()
    counts = "does not count" if direct["refused"] else "only confirms it"
    return (f"An event also names the two together, which {counts}:", *_step(1, direct))


def _notes(answer: JsonObject) -> Iterable[str]:
    if not answer["settled"]:
        yield _NOT_SETTLED
    if not answer["history"]:
        yield _NO_HISTORY
