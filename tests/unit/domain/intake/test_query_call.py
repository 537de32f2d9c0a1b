from typing import Any

import pytest
from starlette.datastructures import QueryParams

from domain.intake.query_call import call_from_query


@pytest.mark.parametrize(
    ("query", "call"),
    [
        ("userId=u1&properties.a=1&properties.b.c=2", {"userId": "u1", "properties": {"a": "1", "b.c": "2"}}),
        ("properties.a=1&properties=%7B%22a%22:2,%22b%22:3%7D", {"properties": {"a": "1", "b": 3}}),
        ("properties=text&properties.a=1", {"properties": "text"}),
        ("a.b=1&properties.=2&.x=3", {}),
        ("properties=[]&traits=%7B%7D&context=null&properties.a=1", {"properties": {"a": "1"}, "traits": {}, "context": {}}),
        ("properties.a=1&properties=[]", {"properties": {"a": "1"}}),
        ("properties=[1]", {"properties": "[1]"}),
        ("properties.a=1&properties=text", {"properties": "text"}),
    ],
)
def test_a_dot_leads_into_an_object(query: str, call: dict[str, Any]) -> None:
    assert call_from_query(QueryParams(query)) == call
