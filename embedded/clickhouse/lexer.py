"""ClickHouse's lexical rules, so that comments, quotes and escapes hide nothing from the statement scan.

It must never see a comment or a string where the engine sees code. Where the two could differ (typographic quotes, odd
heredocs, stray characters) it raises `Unclear`, which costs nothing: no sensible statement holds those outside quotes.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["word", "quoted", "string", "number", "symbol"]


class Unclear(ValueError):
    """Text that the engine may read otherwise; says where."""


class Token(NamedTuple):
    """One token. `text` is decoded for quoted identifiers, as written for everything else."""

    kind: Kind
    text: str
    start: int
    end: int


_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_NUMBER = re.compile(r"[0-9][A-Za-z0-9_]*")
_HEREDOC = re.compile(r"\$([^$]*)\$")
_PLAIN_TAG = re.compile(r"[A-Za-z0-9_]*\Z")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_QUOTED = {
    "'": re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\]|\\.|"")*"', re.DOTALL),
    "`": re.compile(r"`(?:[^`\\]|\\.|``)*`", re.DOTALL),
}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_LETTERS = {"b": "\b", "f": "\f", "r": "\r", "n": "\n", "t": "\t", "0": "\0", "a": "\a", "v": "\v", "e": "\x1b", "N": ""}
_SYMBOLS = frozenset("()[]{},;.:=<>!+-*/%?|^@&~")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text`, comments and space left out, lazily: nothing after the last one taken was looked at.

    Raises:
        Unclear: at the first place that the engine may read otherwise.
    """
    at = 0
    while at < len(text):
        first = text[at]
        if space := _SPACE.match(text, at):
            at = space.end()
        elif text.startswith("/*", at):
            at = _after_comment(text, at)
        elif text.startswith("--", at) or first == "#":
            at = _after_line_comment(text, at)
        else:
            token = _token(text, at, first)
            at = token.end
            yield token


def _token(text: str, at: int, first: str) -> Token:
    if word := _WORD.match(text, at):
        return Token("word", word[0], at, word.end())
    if number := _NUMBER.match(text, at):
        if text.startswith("$", number.end()):
            raise Unclear(f"a number runs into '$' at position {number.end()}")
        return Token("number", number[0], at, number.end())
    if first in _QUOTED:
        return _quoted(text, at, first)
    if first == "$":
        return _heredoc(text, at)
    if first not in _SYMBOLS:
        raise Unclear(f"unexpected character {first!a} at position {at}")
    return Token("symbol", first, at, at + 1)


def _quoted(text: str, at: int, quote: str) -> Token:
    found = _QUOTED[quote].match(text, at)
    if found is None:
        raise Unclear(f"quote without end at position {at}")
    if quote == "'":
        return Token("string", found[0], at, found.end())
    return Token("quoted", _decoded(found[0][1:-1].replace(quote * 2, quote)), at, found.end())


def _decoded(name: str) -> str:
    if "\\" not in name:
        return name
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else _LETTERS.get(m[1], m[1]), name)


def _heredoc(text: str, at: int) -> Token:
    found = _HEREDOC.match(text, at)
    close = text.find(found[0], found.end()) if found else -1
    if found is None or close < 0 or not _PLAIN_TAG.match(found[1]):
        raise Unclear(f"'$' that opens no heredoc at position {at}")
    end = close + len(found[0])
    return Token("string", text[at:end], at, end)


def _after_comment(text: str, at: int) -> int:
    """Comments nest, as in the SQL standard."""
    depth, position = 1, at + 2
    while depth:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            raise Unclear(f"comment without end at position {at}")
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position


def _after_line_comment(text: str, at: int) -> int:
    if text[at] == "#" and text[at + 1 : at + 2] not in (" ", "!"):
        raise Unclear(f"unexpected character '#' at position {at}")
    end = text.find("\n", at)
    return len(text) if end < 0 else end
