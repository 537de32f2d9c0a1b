"""How many profiles a segment would have at an instant, by the SQL of a definition that is live or still in a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.definitions.kinds import AnyDefinition, InvalidDefinition, Segment, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.instants import instant_ms
from domain.segments.plan import SegmentPlan
from ops.apply.connect import ApplyContext, open_apply_context
from ops.apply.preview import SAMPLE
from ops.definition_files import require_consistent
from ops.definitions_topic import seal
from runtime.errors import Invalid


@dataclass(frozen=True, slots=True)
class SegmentPreview:
    """One segment at an instant: how many are in it, and some of their profile ids."""

    segment: str
    at_ms: int
    members: int
    sample: tuple[str, ...]


def parse_instant(text: str) -> int | None:
    """Parse an instant to ms, in UTC if it names no zone; None for an empty text. Raises Invalid for anything else."""
    at_ms = instant_ms(text) if text else None
    if text and at_ms is None:
        raise Invalid("--at is an instant such as 2026-01-31T09:00:00+07:00", path="at", reason="bad_instant")
    return at_ms


def preview_to_json(segment_preview: SegmentPreview) -> dict[str, Any]:
    """Return the preview as JSON."""
    return {
        "segment": segment_preview.segment,
        "at_ms": segment_preview.at_ms,
        "members": segment_preview.members,
        "sample": list(segment_preview.sample),
    }


def plan_with_file(
    segment: str, live: Mapping[str, AnyDefinition], defined: Mapping[str, AnyDefinition]
) -> tuple[SegmentPlan, list[str]]:
    """Return the plan with a file's definitions, and the names of the file's segments; without a file the live `segment`.

    Raises Invalid when there is no such segment. Pure.
    """
    require_consistent(defined, live)
    plan = segment_plan_of({**live, **defined}.values())
    names = (
        [definition.metadata.name for definition in defined.values() if isinstance(definition, Segment)] if defined else [segment]
    )
    if not names or not plan.segments.keys() >= set(names):
        message = f"{segment} defines no segment" if defined else f"no segment and no file is called {segment}"
        raise Invalid(message, path="segment", reason="unknown_segment")
    return plan, names


async def preview_segments(which: str, at_ms: int | None, data_dir: Path) -> list[SegmentPreview]:
    """Return a preview of the live segment `which`, or of each segment in the file `which`, at `at_ms` (None: now).

    Raises Invalid when neither exists or the file is wrong.
    """
    async with open_apply_context(data_dir) as context:
        live = await context.live_definitions()
        plan, names = plan_with_file(which, live, _read_file(context, Path(which), live))
        instant_ms = context.clock.now_ms() if at_ms is None else at_ms
        return [
            SegmentPreview(name, instant_ms, *await context.history.size_and_sample(plan, name, instant_ms, SAMPLE))
            for name in names
        ]


def _read_file(context: ApplyContext, path: Path, live: Mapping[str, AnyDefinition]) -> dict[str, AnyDefinition]:
    """Read the definitions of a file by key; empty when there is no such file. `live` may declare the namespaces of its lists."""
    if not path.is_file():
        return {}
    try:
        return {
            definition.key: definition
            for definition in seal(context.settings, load_yaml(path.read_text(encoding="utf-8"), str(path)), live)
        }
    except InvalidDefinition as error:
        raise Invalid(str(error), path=str(path), reason="bad_definition") from error
    except UnicodeDecodeError:
        raise Invalid(f"{path}: not UTF-8", path=str(path), reason="bad_definition") from None
