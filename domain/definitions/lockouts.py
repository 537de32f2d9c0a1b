"""What applying definitions would take away from those who can send now. Pure.

A definition replaces the live one of its name as a whole. So a document that sets one thing of a source, and does not repeat its
write keys, removes them. That may be meant, and it may lock every client out, so a person must confirm it.

Example: `Source/default` has one key and `topic_ingress`. A document `{name: default}` with `spec: {record_ip: true}` gives two
sentences: one about the key, and one about `touchpoints`.
"""

from collections.abc import Iterator, Mapping

from domain.definitions.kinds import Definition, Source, SourceSpec, write_keys_of


def find_lockouts(requested: Mapping[str, Definition], live: Mapping[str, Definition], now_ms: int) -> list[str]:
    """Return a sentence for each way to send that works at `now_ms` and would no longer work after an apply. Both are by key."""
    return [
        f"{key}: {loss}"
        for key, definition in sorted(requested.items())
        if isinstance(definition, Source) and isinstance(before := live.get(key), Source)
        for loss in _losses(before.spec, definition.spec, now_ms)
    ]


def _losses(before: SourceSpec, after: SourceSpec, now_ms: int) -> Iterator[str]:
    valid_keys, remaining_keys = _valid_keys(before, now_ms), _valid_keys(after, now_ms)
    if lost_keys := valid_keys - remaining_keys:
        remainder = f"{len(remaining_keys)} would be valid" if remaining_keys else "none would be left"
        yield (
            f"{_count(len(lost_keys), 'write key')} would be removed, and {remainder}: clients that send with a removed key are "
            "answered 401; repeat the keys in write_key_sha256 to keep them"
        )
    if before.trust == "trusted" and after.trust == "public":
        yield (
            "it would be public: its calls, imports, events with crm_id or caller_number and those older than 30 days would be "
            "refused; repeat trust: trusted to keep them"
        )
    if before.topic_ingress and not after.topic_ingress:
        yield "records on touchpoints could not name it any more: repeat topic_ingress: true to keep that"
    if before.webhook is not None and after.webhook is None:
        yield "its webhook would be removed, and the sender answered 404: repeat webhook to keep it"
    elif before.webhook is not None and after.webhook is not None and before.webhook.signature != after.webhook.signature:
        yield "its webhook would verify other signatures: the sender must change at the same time"
    if after.cors_origins and (not before.cors_origins or set(before.cors_origins) - set(after.cors_origins)):
        yield "browsers could send from fewer origins than now: add the others to cors_origins to keep them"


def _valid_keys(spec: SourceSpec, now_ms: int) -> set[str]:
    return {stored_hash for stored_hash, until_ms in write_keys_of(spec) if until_ms is None or now_ms < until_ms}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
