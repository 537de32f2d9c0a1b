"""ClickHouse's lexical rules, so that comments, quotes and escapes hide nothing from the statement scan.

It must never see a comment or a string where the engine sees code. Where the two could differ (typographic quotes, odd
heredocs, stray characters) it raises `AmbiguousSyntax`, which costs nothing: no sensible statement holds those outside quotes.
"""

import re  # noqa: TID251 - RE2 would copy the whole text for each token; no pattern here can match one text in two ways
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["word", "quoted", "string", "number", "symbol"]


class AmbiguousSyntax(ValueError):
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
_ESCAPED_CHARACTERS = {"b": "\b", "f": "\f", "r": "\r", "n": "\n", "t": "\t", "0": "\0", "a": "\a", "v": "\v", "e": "\x1b", "N": ""}
_SYMBOLS = frozenset("()[]{},;.:=<>!+-*/%?|^@&~")


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text` without comments and space. Text after the last token taken has not been read.

    Raises:
        AmbiguousSyntax: at the first place that the engine may read otherwise.
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
            raise AmbiguousSyntax(f"a number runs into '$' at position {number.end()}")
        return Token("number", number[0], at, number.end())
    if first in _QUOTED:
        return _quoted(text, at, first)
    if first == "$":
        return _heredoc(text, at)
    if first not in _SYMBOLS:
        raise AmbiguousSyntax(f"unexpected character {first!a} at position {at}")
    return Token("symbol", first, at, at + 1)


def _quoted(text: str, at: int, quote: str) -> Token:
    match = _QUOTED[quote].match(text, at)
    if match is None:
        raise AmbiguousSyntax(f"quote without end at position {at}")
    if quote == "'":
        return Token("string", match[0], at, match.end())
    return Token("quoted", _unescape(match[0][1:-1].replace(quote * 2, quote)), at, match.end())


def _unescape(name: str) -> str:
    if "\\" not in name:
        return name
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else _ESCAPED_CHARACTERS.get(m[1], m[1]), name)


def _heredoc(text: str, at: int) -> Token:
    match = _HEREDOC.match(text, at)
    closing_at = text.find(match[0], match.end()) if match else -1
    if match is None or closing_at < 0 or not _PLAIN_TAG.match(match[1]):
        raise AmbiguousSyntax(f"'$' that opens no heredoc at position {at}")
    end = closing_at + len(match[0])
    return Token("string", text[at:end], at, end)


def _after_comment(text: str, at: int) -> int:
    """Comments nest, as in the SQL standard."""
    depth, position = 1, at + 2
    while depth:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            raise AmbiguousSyntax(f"comment without end at position {at}")
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position


def _after_line_comment(text: str, at: int) -> int:
    if text[at] == "#" and text[at + 1 : at + 2] not in (" ", "!"):
        raise AmbiguousSyntax(f"unexpected character '#' at position {at}")
    end = text.find("\n", at)
    return len(text) if end < 0 else end
