"""Names in definitions that nothing defines are found before anything is made live."""

import pytest

from domain.definitions.kinds import AnyDefinition, load_yaml
from ops.definition_files import require_consistent
from runtime.errors import Invalid

LIVE = """
{apiVersion: onefold/v1, kind: ComputedTrait, metadata: {name: orders-90d}, spec: {count: {event: Đặt hàng, within: 90d}}}
---
{apiVersion: onefold/v1, kind: ComputedTrait, metadata: {name: rfm-spa}, spec: {rfm: {within: 90d, recency: [7d, 14d, 30d, 60d],
  frequency: [2, 3, 4, 5], monetary: [1, 2, 3, 4]}}}
---
{apiVersion: onefold/v1, kind: List, metadata: {name: staff}, spec: {namespace: user_id, values: [u1]}}
---
{apiVersion: onefold/v1, kind: Segment, metadata: {name: vip}, spec: {where: {everyone: true}}}
"""
NOT = "which is not defined"
CURE = "define it, or correct the name"


def documents(text: str) -> dict[str, AnyDefinition]:
    return {found.key: found for found in load_yaml(text, "test.yaml")}


def segment(where: str) -> dict[str, AnyDefinition]:
    return documents(f"{{apiVersion: onefold/v1, kind: Segment, metadata: {{name: a}}, spec: {{where: {where}}}}}")


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("{not: {in_segment: vlp}}", "spec.where.not.in_segment: names the segment vlp, which is not defined: did you mean `vip`?"),
        ("{list: satff}", "spec.where.list: names the list satff, which is not defined: did you mean `staff`?"),
        ("{list: khách}", None),
        (
            "{all: [{everyone: true}, {trait: {path: computed.order-90d, op: gte, value: 2}}]}",
            "spec.where.all.1.trait.path: names the computed trait order-90d, which is not defined: did you mean `orders-90d`?",
        ),
        ("{rfm: {of: rmf, recency: [5]}}", f"spec.where.rfm.of: names the computed trait rmf, {NOT}: did you mean `rfm`?"),
        ("{rfm: {of: orders-90d, recency: [5]}}", f"spec.where.rfm.of: orders-90d computes count, not rfm: {CURE}"),
        ("{lifecycle: {of: spa, stage: [lost]}}", f"spec.where.lifecycle.of: names the computed trait spa, {NOT}: {CURE}"),
        (
            "{calendar: {trait: computed.birth}}",
            f"spec.where.calendar.trait: names the computed trait birth, {NOT}: {CURE}",
        ),
    ],
)  # fmt: skip
def test_a_name_that_nothing_defines_is_refused_with_the_nearest(where: str, line: str | None) -> None:
    if line is None:
        with pytest.raises(ValueError, match="a name is"):
            segment(where)
        return
    with pytest.raises(Invalid) as raised:
        require_consistent(segment(where), documents(LIVE))
    assert str(raised.value).startswith(f"Segment/a: {line}")


@pytest.mark.parametrize(
    "where",
    [
        "{all: [{in_segment: vip}, {list: staff}, {rfm: {recency: [5]}}, {lifecycle: {stage: [lost]}}]}",
        "{rfm: {of: rfm-spa, monetary: [1]}}",
        "{trait: {path: computed.orders-90d, op: gte, value: 2}}",
        "{trait: {path: computed.rfm.score, value: '555'}}",
        "{trait: {path: computed, value: 1}}",
    ],
)  # fmt: skip
def test_what_is_live_shipped_or_defined_beside_may_be_named(where: str) -> None:
    require_consistent(segment(where), documents(LIVE))


def test_several_faults_of_several_documents_are_said_at_once() -> None:
    hook = """{apiVersion: onefold/v1, kind: Destination, metadata: {name: hook}, spec: {type: webhook, url: "https://a.vn/x",
      secret_env: S, triggers: [{segment: vip}, {segment: b}]}}"""
    with pytest.raises(Invalid) as raised:
        require_consistent({**segment("{any: [{in_segment: b}, {list: c}]}"), **documents(hook)}, documents(LIVE))
    assert [line.split(": ")[:2] for line in str(raised.value).splitlines()] == [
        ["Destination/hook", "spec.triggers.1.segment"],
        ["Segment/a", "spec.where.any.0.in_segment"],
        ["Segment/a", "spec.where.any.1.list"],
    ]
