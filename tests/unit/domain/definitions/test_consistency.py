"""Tracking plans among the definitions that are to become live."""

import pytest

from domain.definitions.kinds import load_yaml
from ops.definition_files import require_consistent
from runtime.errors import Invalid


def plan(name: str, sources: str = "[]") -> str:
    return f"apiVersion: onefold/v1\nkind: TrackingPlan\nmetadata: {{name: {name}}}\nspec: {{sources: {sources}}}\n"


def test_a_source_has_one_plan() -> None:
    live = {held.key: held for held in load_yaml(plan("shop"), "live")}
    require_consistent({held.key: held for held in load_yaml(plan("app", "[app, web]"), "wanted")}, live)
    require_consistent({held.key: held for held in load_yaml(plan("shop", "[shop, shop]"), "wanted")}, live)
    with pytest.raises(Invalid, match="TrackingPlan/app and TrackingPlan/shop: both check the source shop"):
        require_consistent({held.key: held for held in load_yaml(plan("app", "[app, shop]"), "wanted")}, live)
