"""`onefold schema` prints what an editor needs."""

import json

import pytest

from domain.definitions.json_schema import definition_schema
from ops.cli.schema import resolve_kind, show
from runtime.errors import Invalid


@pytest.mark.parametrize(
    ("kind", "name"), [("ComputedTrait", "computed-trait"), ("segment", "segment"), ("tracking_plan", "tracking-plan")]
)
def test_a_kind_is_named_as_in_documents_or_as_in_files(kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(kind)
    assert json.loads(capsys.readouterr().out) == definition_schema(name)


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(Invalid, match="did you mean `segment`"):
        resolve_kind("segmnt")
    with pytest.raises(Invalid, match="there are source, tracking-plan"):
        resolve_kind("x")
