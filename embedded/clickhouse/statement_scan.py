"""What a statement is, told from its tokens: its first word, its formats, and whether it uses something that is closed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from embedded.clickhouse.lexer import Token, tokens
from embedded.clickhouse.protocol import MAX_HEAD_CHARACTERS

CALLS = frozenset({"file", "python", "executable", "executablepool", "eval", "disk", "catboostevaluate"})
SOURCES = frozenset({"clickhouse", "null"})
PAIRS = frozenset({("into", "outfile"), ("from", "infile")})
ENGINES = re.compile(
    r"(?:\w*mergetree|memory|null|view|materializedview|log|tinylog|stripelog|set|join|dictionary|buffer|merge|generaterandom"
    r"|atomic|')\Z"
)
READING = frozenset({"select", "with", "show", "describe", "desc", "explain", "exists", "use", "set", "from", "check"})
# What a values list must lack to be let through unread: anything that could be code which the scan refuses.
_NEEDS_SCAN = re.compile(r"file|python|executable|eval|disk|catboost|[\"`;$#\u2018\u2019\u201c\u201d]|--|/\*", re.IGNORECASE)
_GAP = re.compile(r"[ \t\f]*(\r?\n)?")


@dataclass(frozen=True, slots=True)
class Statement:
    """`first`: the first word, lower case; `count`: how many statements the text holds; `closed`: a closed thing it uses;
    `format`: the output format that it names; `identifiers`: whether it takes names as parameters."""

    first: str
    count: int
    closed: str | None
    format: str | None
    identifiers: bool


def scan(text: str) -> Statement:
    """Read the whole statement.

    Raises:
        Unclear: when the engine may read it otherwise.
    """
    words: list[str] = []
    format_: str | None = None
    count, ended, creates, closed, settings = 1, False, False, None, False
    for token in tokens(text):
        word, last = _normal(token), words[-1] if words else ""
        if ended and word != ";":
            count, ended = count + 1, False
        ended = ended or word == ";"
        creates = creates or (token.kind == "word" and word in {"create", "attach", "replace"})
        closed = closed or _closed(words, word, creates=creates)
        settings = settings or word == "settings"
        if last == "format" and token.kind == "word":
            format_ = token.text
        elif word != ";" and not settings:
            format_ = None
        words.append(word)
    first = next((word for word in words if word != "("), "")
    if first == "with" and ("insert", "into") in pairwise(words):
        first = "insert"
    return Statement(first, count, closed, format_, "identifier" in words)


def _normal(token: Token) -> str:
    return "'" if token.kind == "string" else token.text.lower()


def _closed(before: list[str], word: str, *, creates: bool) -> str | None:
    last = before[-1] if before else ""
    if word == "(" and last in CALLS:
        return f"{last}()"
    if word in CALLS and (last == "apply" or (word == "file" and last == "(")):
        return f"{word} as a function (a column of that name is written table.{word})"
    if (last, word) in PAIRS:
        return f"{last} {word}"
    if before[-2:] == ["source", "("] and word not in SOURCES:
        return f"source({word})"
    names_engine = (last == "engine" and word != "=") or before[-2:] == ["engine", "="]
    if creates and names_engine and not ENGINES.match(word):
        return f"engine {word}"
    return None


def closed_parameter(statement: Statement, parameters: Mapping[str, str]) -> str | None:
    """The parameter that would bring in a closed name as an identifier, if there is one."""
    if not statement.identifiers:
        return None
    return next((name for name, value in parameters.items() if value.strip().strip('`"').lower() in CALLS or "\\" in value), None)


@dataclass(frozen=True, slots=True)
class InsertHead:
    """`statement`: the INSERT up to its FORMAT clause; `format`: of the data; `data_at`: where the data starts in the text."""

    statement: str
    format: str
    data_at: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """More text is needed to tell."""


def insert_head(text: str, *, over: bool) -> InsertHead | Incomplete | None:
    """Where the data of an INSERT starts; None for any statement whose text must be read whole.

    `over` says that no more text comes. Only the statement is looked at, never the data.

    Raises:
        Unclear: when the engine may read it otherwise.
    """
    depth, last = 0, ""
    for index, token in enumerate(tokens(text)):
        word = _normal(token)
        if index == 0 and word != "insert":
            return None if over or token.end < len(text) else Incomplete()
        if token.end == len(text) and not over:
            return Incomplete()
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and token.kind == "word":
            if last == "format":
                return _head(text, token, over=over)
            if word in {"select", "with", "values", "infile", "watch"} and last not in {"into", "table", "."}:
                return None
        last = "" if word == "format" and last in {"into", "table", "."} else word
    return None if over or len(text) > MAX_HEAD_CHARACTERS else Incomplete()


def _head(text: str, token: Token, *, over: bool) -> InsertHead | Incomplete | None:
    if token.text.lower() == "values":
        return None
    gap = _GAP.search(text, token.end)  # matches always, also nothing
    data_at = gap.end() if gap else token.end
    if data_at == len(text) and (gap is None or gap[1] is None) and not over:
        return Incomplete()
    statement = text[: token.start].rstrip()[: -len("format")].rstrip()
    return InsertHead(statement, token.text, data_at)


def values_at(text: str) -> int | None:
    """Where the values of `INSERT … VALUES …` start when nothing in them needs a scan; None otherwise."""
    depth, last = 0, ""
    for index, token in enumerate(tokens(text)):
        word = _normal(token)
        if index == 0 and word != "insert":
            return None
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word == "values" and token.kind == "word" and last not in {"into", "table", "."}:
            return None if _NEEDS_SCAN.search(text, token.end) else token.end
        if depth == 0 and word in {"select", "with"}:
            return None
        last = word
    return None
