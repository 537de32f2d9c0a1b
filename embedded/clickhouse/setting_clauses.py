"""The settings that a statement gives itself, in SET or in a SETTINGS clause, however deep. Pure.

The engine checks the clause of the outermost SELECT. Many of its versions let those of subqueries pass, and `= DEFAULT` too.
Whoever must not change a setting is therefore refused before the engine sees the statement. What could be a change counts as one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from embedded.clickhouse.lexer import Token


class SettingChange(NamedTuple):
    """One setting that a statement changes. `value` is the number or the text that it gets, None for anything else."""

    name: str
    value: str | None


def setting_changes(parts: Sequence[Token]) -> Iterator[SettingChange]:
    """Yield the settings that a statement of these tokens changes."""
    depth, is_name_next = 0, False
    list_depths: set[int] = set()  # where a list of settings has begun and a comma leads to the next one
    for index, part in enumerate(parts):
        if is_name_next and _is_name(part):
            yield SettingChange(part.text, _value_after(parts, index))
        is_name_next = False
        if part.kind == "symbol" and part.text in "([{":
            depth += 1
        elif part.kind == "symbol" and part.text in ")]}":
            list_depths.discard(depth)
            depth -= 1
        elif part.text == "," and part.kind == "symbol":
            is_name_next = depth in list_depths
        elif part.text == ";":
            list_depths.clear()
        elif _begins_list(part, index) and any(map(_is_name, parts[index + 1 : index + 2])):
            list_depths.add(depth)
            is_name_next = True


def _is_name(part: Token) -> bool:
    return part.kind in {"word", "quoted"}


def _begins_list(part: Token, index: int) -> bool:
    return part.kind == "word" and (part.text.lower() == "settings" or (index == 0 and part.text.lower() == "set"))


def _value_after(parts: Sequence[Token], index: int) -> str | None:
    """Return the literal behind `name =`, if a whole literal stands there and nothing that would go on with it."""
    following = parts[index + 1 : index + 4]
    if len(following) < 2 or following[0].text != "=" or following[1].kind not in {"number", "string"}:
        return None
    if len(following) == 3 and following[2].kind == "symbol" and following[2].text not in ",);":
        return None
    return following[1].text.strip("'")
