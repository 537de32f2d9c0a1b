"""Classifies a statement by its tokens: its first word, its formats, and whether it uses something that is closed."""

import re  # noqa: TID251 - the text may be no UTF-8, which RE2 does not read; these patterns are words and a line's end
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from embedded.clickhouse.lexer import Token, tokens
from embedded.clickhouse.protocol import MAX_HEAD_CHARACTERS
from embedded.clickhouse.setting_clauses import SettingChange, setting_changes

# sqlite() makes a file that is not there before the engine asks whether the user may: an empty one beside the tables' own
# definitions keeps the engine from starting again.
FORBIDDEN_FUNCTIONS = frozenset({"file", "python", "executable", "executablepool", "eval", "disk", "catboostevaluate", "sqlite"})
ALLOWED_DICTIONARY_SOURCES = frozenset({"clickhouse", "null"})
FORBIDDEN_WORD_PAIRS = frozenset({("into", "outfile"), ("from", "infile")})
ALLOWED_ENGINES = frozenset({
    "memory", "null", "view", "materializedview", "log", "tinylog", "stripelog", "set", "join", "dictionary", "buffer", "merge",
    "generaterandom", "atomic", "'",
})  # fmt: skip
READING_WORDS = frozenset({"select", "with", "show", "describe", "desc", "explain", "exists", "use", "set", "from", "check"})
# What a values list must lack to be let through unread: anything that could be code which the scan refuses.
_NEEDS_SCAN = re.compile(r"file|python|executable|eval|disk|catboost|sqlite|[\"`;$#\u2018\u2019\u201c\u201d]|--|/\*", re.IGNORECASE)
_GAP = re.compile(r"[ \t\f]*(\r?\n)?")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the scan sees it."""

    first_word: str
    """The first word, in lower case."""
    statement_count: int
    """How many statements the text holds."""
    forbidden: str | None
    """A function, table engine or setting in it that the embedded engine does not allow."""
    format: str | None
    """The output format that it names."""
    takes_identifiers: bool
    """Whether it takes names of tables or columns as parameters."""
    settings: tuple[SettingChange, ...]
    """The settings that it changes, in its subqueries too."""


def scan(text: str) -> Statement:
    """Read the whole statement.

    Raises:
        AmbiguousSyntax: when the engine may read it otherwise.
    """
    words: list[str] = []
    parts = list(tokens(text))
    format_: str | None = None
    statement_count, is_ended, is_creating, forbidden, in_settings = 1, False, False, None, False
    for token in parts:
        word, previous = _normalised(token), words[-1] if words else ""
        if is_ended and word != ";":
            statement_count, is_ended = statement_count + 1, False
        is_ended = is_ended or word == ";"
        is_creating = is_creating or (token.kind == "word" and word in {"create", "attach", "replace"})
        forbidden = forbidden or _forbidden_part(words, word, is_creating=is_creating)
        in_settings = in_settings or word == "settings"
        if previous == "format" and token.kind == "word":
            format_ = token.text
        elif word != ";" and not in_settings:
            format_ = None
        words.append(word)
    first_word = next((word for word in words if word != "("), "")
    if first_word == "with" and ("insert", "into") in pairwise(words):
        first_word = "insert"
    forbidden = forbidden or _code_in_text(parts)
    return Statement(first_word, statement_count, forbidden, format_, "identifier" in words, tuple(setting_changes(parts)))


def _normalised(token: Token) -> str:
    return "'" if token.kind == "string" else token.text.lower()


def _forbidden_part(previous_words: list[str], word: str, *, is_creating: bool) -> str | None:
    previous = previous_words[-1] if previous_words else ""
    if word == "(" and previous in FORBIDDEN_FUNCTIONS:
        return f"{previous}()"
    if word in FORBIDDEN_FUNCTIONS and (previous == "apply" or (word == "file" and previous == "(")):
        return f"{word} as a function (a column of that name is written table.{word})"
    if (previous, word) in FORBIDDEN_WORD_PAIRS:
        return f"{previous} {word}"
    if previous_words[-2:] == ["source", "("] and word not in ALLOWED_DICTIONARY_SOURCES:
        return f"source({word})"
    names_engine = (previous == "engine" and word != "=") or previous_words[-2:] == ["engine", "="]
    if is_creating and names_engine and word not in ALLOWED_ENGINES and not _is_merge_tree(word):
        return f"engine {word}"
    return None


def _is_merge_tree(word: str) -> bool:
    return word.endswith("mergetree") and word.replace("_", "a").isalnum()


def _code_in_text(parts: list[Token]) -> str | None:
    """Return the table function format(), which runs expressions and subqueries that stand in its data, where no scan sees them.

    The function of texts has the same name. It is told by its first argument, a pattern with places, `'{} {}'`.
    """
    for index, part in enumerate(parts):
        if part.kind not in {"word", "quoted"} or part.text.lower() != "format":
            continue
        following = parts[index + 1 : index + 4]
        if not following or following[0].text != "(":
            continue
        is_pattern = len(following) == 3 and following[1].kind == "string" and "{" in following[1].text
        if not is_pattern or following[2].text not in {",", ")"}:
            return "format() without a literal pattern"
    return None


def forbidden_parameter(statement: Statement, parameters: Mapping[str, str]) -> str | None:
    """Return the parameter that would bring in a forbidden name as an identifier, if there is one."""
    if not statement.takes_identifiers:
        return None
    return next(
        (
            name
            for name, value in parameters.items()
            if value.strip().strip('`"').lower() in FORBIDDEN_FUNCTIONS | {"format"} or "\\" in value
        ),
        None,
    )


@dataclass(frozen=True, slots=True)
class InsertHead:
    """`statement`: the INSERT up to its FORMAT clause; `format`: of the data; `data_at`: where the data starts in the text."""

    statement: str
    format: str
    data_at: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """More text is needed to tell."""


def insert_head(text: str, *, is_complete: bool) -> InsertHead | Incomplete | None:
    """Return where the data of an INSERT starts; None for any statement whose text must be read whole.

    `is_complete` says that no more text comes. Only the statement is read, never the data.

    Raises:
        AmbiguousSyntax: when the engine may read it otherwise.
    """
    depth, previous = 0, ""
    for index, token in enumerate(tokens(text)):
        word = _normalised(token)
        if index == 0 and word != "insert":
            return None if is_complete or token.end < len(text) else Incomplete()
        if token.end == len(text) and not is_complete:
            return Incomplete()
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and token.kind == "word":
            if previous == "format":
                return _parse_head(text, token, is_complete=is_complete)
            if word in {"select", "with", "values", "infile", "watch"} and previous not in {"into", "table", "."}:
                return None
        previous = "" if word == "format" and previous in {"into", "table", "."} else word
    return None if is_complete or len(text) > MAX_HEAD_CHARACTERS else Incomplete()


def _parse_head(text: str, token: Token, *, is_complete: bool) -> InsertHead | Incomplete | None:
    if token.text.lower() == "values":
        return None
    gap = _GAP.search(text, token.end)  # matches always, also nothing
    data_at = gap.end() if gap else token.end
    if data_at == len(text) and (gap is None or gap[1] is None) and not is_complete:
        return Incomplete()
    statement = text[: token.start].rstrip()[: -len("format")].rstrip()
    return InsertHead(statement, token.text, data_at)


def find_values(text: str) -> int | None:
    """Return where the values of `INSERT … VALUES …` start if nothing in them needs a scan, else None."""
    depth, previous = 0, ""
    for index, token in enumerate(tokens(text)):
        word = _normalised(token)
        if index == 0 and word != "insert":
            return None
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word == "values" and token.kind == "word" and previous not in {"into", "table", "."}:
            return None if _NEEDS_SCAN.search(text, token.end) else token.end
        if depth == 0 and word in {"select", "with"}:
            return None
        previous = word
    return None
