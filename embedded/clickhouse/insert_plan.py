"""Reads the head of an INSERT: its target, its columns and its settings. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedded.clickhouse.lexer import Token, tokens
from embedded.clickhouse.protocol import QueryRefused


@dataclass(frozen=True, slots=True)
class InsertPlan:
    """The parts of an INSERT in front of its FORMAT."""

    target: str
    """The table or the table function, as `DESCRIBE TABLE` takes it."""
    columns: str
    """What stands in the column list; empty without one."""
    names: tuple[str, ...] | None
    """The names of a column list; None where it holds something that only the engine can resolve (`* EXCEPT (a)`)."""
    settings: str
    """The SETTINGS clause; empty without one."""


def plan_insert(statement: str) -> InsertPlan:
    """Take `statement`, an INSERT up to its FORMAT clause, apart.

    Raises:
        AmbiguousSyntax: when the engine may read it otherwise.
        QueryRefused: 62 when it names no target.
    """
    parts = [*tokens(statement)]
    at = 1
    for optional in ("into", "table"):
        at += _is_word(parts, at, optional)
    is_function = _is_word(parts, at, "function")
    at += is_function
    end = _end_of_function(parts, at) if is_function else _end_of_name(parts, at)
    if end == at:
        raise QueryRefused(62, "Syntax error: INSERT without a table", "SYNTAX_ERROR")
    target = statement[parts[at].start : parts[end - 1].end]
    columns = ""
    listed: Sequence[Token] = ()
    if _is_symbol(parts, end, "("):
        close = _closing(parts, end)
        columns, listed, end = statement[parts[end].end : parts[close].start], parts[end + 1 : close], close + 1
    settings_at = next((index for index in range(end, len(parts)) if _is_word(parts, index, "settings")), None)
    settings = "" if settings_at is None else statement[parts[settings_at].start :]
    return InsertPlan(target, columns.strip(), _plain_names(listed), settings)


def _is_word(parts: Sequence[Token], at: int, word: str) -> bool:
    return at < len(parts) and parts[at].kind == "word" and parts[at].text.lower() == word


def _is_symbol(parts: Sequence[Token], at: int, symbol: str) -> bool:
    return at < len(parts) and parts[at].kind == "symbol" and parts[at].text == symbol


def _closing(parts: Sequence[Token], at: int) -> int:
    """Return the index of the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(parts)):
        if parts[index].kind == "symbol":
            depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(parts[index].text, 0)
            if not depth:
                return index
    raise QueryRefused(62, "Syntax error: a bracket is left open", "SYNTAX_ERROR")


def _end_of_function(parts: Sequence[Token], at: int) -> int:
    return _closing(parts, at + 1) + 1 if _is_symbol(parts, at + 1, "(") else at


def _end_of_name(parts: Sequence[Token], at: int) -> int:
    """Return the index behind a name of one or several parts with dots between; a part may be a parameter in braces."""
    while at < len(parts):
        if _is_symbol(parts, at, "{"):
            at = _closing(parts, at) + 1
        elif parts[at].kind in {"word", "quoted"}:
            at += 1
        else:
            break
        if not _is_symbol(parts, at, "."):
            break
        at += 1
    return at


def _plain_names(listed: Sequence[Token]) -> tuple[str, ...] | None:
    """Return the names of a column list that holds names alone, with the dots of nested columns."""
    names: list[str] = []
    previous = ","
    for token in listed:
        if token.kind in {"word", "quoted"} and previous == ",":
            names.append(token.text)
        elif token.kind in {"word", "quoted"} and previous == ".":
            names[-1] += f".{token.text}"
        elif token.kind != "symbol" or token.text not in {",", "."} or previous in {",", "."}:
            return None
        previous = token.text if token.kind == "symbol" else "name"
    return tuple(names) if previous == "name" or not listed else None
