"""Read YAML, close to version 1.2, into plain values. No text costs more time or memory than its length allows. Pure.

Only `true` and `false` are booleans, because `on` is a key of a trigger and `no` a country. Dates, times and numbers with a leading
zero (a phone number) stay text. `<<` is a key like any other, because merged keys can grow without end.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import re2
import yaml

MAX_LEVELS: Final = 64
"""How deep a document may be nested."""
MAX_VALUES: Final = 200_000
"""How many values a document may hold. A value that an alias repeats counts each time."""
_OVERRIDDEN_TAGS: Final = ("bool", "int", "float", "timestamp", "merge")


class DocumentTooLarge(ValueError):
    """A text is nested too deep, or holds too much. The message tells which, and the cure."""


class _Loader(yaml.SafeLoader):
    """Raises DocumentTooLarge before the stack is exhausted: composing a document takes one or two frames a level."""

    levels = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.levels += 1
        if self.levels > MAX_LEVELS:
            raise DocumentTooLarge(TOO_DEEP)
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as it is overridden
        """Build a mapping, and refuse a key that is written twice: one of the two values would be lost."""
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(problem="a key is written twice: keep one", problem_mark=node.start_mark)
        return mapping


TOO_DEEP: Final = f"nested deeper than {MAX_LEVELS} levels: make it flatter"
TOO_LARGE: Final = f"holds more than {MAX_VALUES} values: split it into several documents"

_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix("tag:yaml.org,2002:") not in _OVERRIDDEN_TAGS]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re2.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re2.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re2.compile(
        r"^(?:[-+]?(?:0|[1-9][0-9_]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?(?:0|[1-9][0-9_]*)(?:\.?[eE][-+]?[0-9]+|\.)"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


class _Dumper(yaml.SafeDumper):
    """Quotes text that this loader, or one of YAML 1.1, would read as another type."""


_Dumper.yaml_implicit_resolvers = {
    letter: [*yaml.SafeDumper.yaml_implicit_resolvers.get(letter, ()), *_Loader.yaml_implicit_resolvers.get(letter, ())]
    for letter in yaml.SafeDumper.yaml_implicit_resolvers.keys() | _Loader.yaml_implicit_resolvers.keys()
}


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Represent text with unusual line breaks escaped: written as they are, they would be lost when the text is read."""
    style = '"' if set(text) & {"\x85", "\u2028", "\u2029"} else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def yaml_text(document: Any) -> str:
    """Return the YAML text of a value. `yaml_documents` reads the same value from it."""
    return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)


def commented_yaml(document: Any, comment: str) -> str:
    """Return the YAML text of a document under a comment, as `onefold apply` reads it."""
    return "".join(f"# {line}\n" for line in comment.splitlines()) + yaml_text(document)


def yaml_documents(text: str) -> list[Any]:
    """Return the values of a YAML text, one for each document. Raises DocumentTooLarge, or yaml.YAMLError with the position."""
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise DocumentTooLarge(
            "a number is too long: write it as text" if not isinstance(error, DocumentTooLarge) else str(error)
        ) from None


def check_document_size(document: Any) -> None:
    """Check that a document has neither too many levels nor too many values. Raises DocumentTooLarge.

    The document may contain itself, through an alias: then it has too many levels.
    """
    open_iterators: list[Iterator[Any]] = [iter((document,))]
    value_count = 0
    while open_iterators:
        for value in open_iterators[-1]:
            value_count += 1
            if value_count > MAX_VALUES:
                raise DocumentTooLarge(TOO_LARGE)
            if isinstance(value, Mapping | list | tuple):
                if len(open_iterators) >= MAX_LEVELS:
                    raise DocumentTooLarge(TOO_DEEP)
                open_iterators.append(iter(value.values() if isinstance(value, Mapping) else value))
                break
        else:
            open_iterators.pop()
