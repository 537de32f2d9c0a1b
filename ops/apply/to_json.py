"""What `onefold plan --json` and `onefold apply --json` print. Pure."""

from collections.abc import Mapping
from typing import Any

from ops.apply.backfill import ApplyResult
from ops.apply.preview import ApplyPreview


def planned_to_json(preview: ApplyPreview) -> dict[str, Any]:
    """Return the answer of `onefold plan --json`."""
    return {
        "changes": dict(preview.changes),
        "segments": [
            {
                "segment": segment_size.segment,
                "before": segment_size.before,
                "now": segment_size.after,
                "entering": segment_size.entering,
                "leaving": segment_size.leaving,
                "sample": list(segment_size.sample),
            }
            for segment_size in preview.segments
        ],
        "bounds": [
            {"owner": one.owner, "path": one.path, "entries": one.entries, "bytes": one.bytes, "exact_while": one.exact_while}
            for one in preview.bounds
        ],
        "warnings": list(preview.warnings),
    }


def applied_to_json(changes: Mapping[str, str], result: ApplyResult) -> dict[str, Any]:
    """Return the answer of `onefold apply --json`: the change of each definition by its key, and what was computed for them."""
    return {
        "changes": dict(changes),
        "written": list(result.written),
        "registers": result.registers,
        "events": result.events,
        "owners": result.owners,
        "segments": {
            name: {"before": tally.before, "now": tally.after, "entered": tally.entered, "left": tally.exited}
            for name, tally in result.segments.items()
        },
        "waited_s": result.waited_s,
        "profiles": result.profiles,
        "identity_rules": result.identity_rules,
    }
