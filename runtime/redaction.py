"""Mask what may be personal in a text for people and logs: e-mail addresses, phone numbers, passwords in URLs. Pure.

Its invariants: the time grows with the length of the text alone, since text from outside reaches logs in errors (RE2 never goes
back); letters and digits of every script count, since RE2's own `\\w`, `\\d` and `\\s` are those of ASCII; nothing in the result
steers a terminal.

Example: `no answer for ánh@shop.vn (0912 345 678)` becomes `no answer for [redacted] ([redacted])`, and `192.168.100.200:80` and
`2026-11-24 15:59:22` stay as they are.
"""

from typing import Final

import re2

REDACTED: Final = "[redacted]"
MAX_CHARS: Final = 16_384
"""What a text of a log may have. The rest is cut off: a line is for people, and an error may quote a whole statement."""
_WORD: Final = r"\pL\pM\pN_"
_SPACE: Final = r"\s\pZ"
_EMAIL: Final = re2.compile(rf"[{_WORD}.+%-]+(?:[@\x{{ff20}}]|%40)[{_WORD}-]+(?:\.[{_WORD}-]+)+")
_AT_SIGNS: Final = ("@", "\uff20", "%40")
_URL_PASSWORD: Final = re2.compile(rf"([{_WORD}+.-]+://[^:/@{_SPACE}]*):[^@/{_SPACE}]+@")
_DIGIT_GROUPS: Final = re2.compile(rf"\+?\p{{Nd}}+(?:[{_SPACE}\p{{Pd}}.()]{{1,2}}\p{{Nd}}+)*")
_MIN_DIGITS: Final = 9
_OCTETS: Final = 4
_LARGEST_OCTET: Final = 255


def without_personal_data(text: str) -> str:
    """Return the text, cut to MAX_CHARS, with e-mail addresses, phone numbers and URL passwords masked and controls written out."""
    if len(text) > MAX_CHARS:
        text = f"{text[:MAX_CHARS]}… {len(text) - MAX_CHARS} more characters"
    encodable = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    masked = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", encodable) if "://" in encodable else encodable
    if any(sign in masked for sign in _AT_SIGNS):
        masked = _EMAIL.sub(REDACTED, masked)
    return escape_controls(_without_numbers(masked) if sum(map(str.isdecimal, masked)) >= _MIN_DIGITS else masked)


def escape_controls(text: str) -> str:
    """Return the text with control characters but line breaks and tabs written out: a value must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _without_numbers(text: str) -> str:
    """Mask runs of nine digits and more, however they are grouped; but no address of a machine, and no part of a word or a time."""
    parts: list[str] = []
    kept_from = 0
    for match in _DIGIT_GROUPS.finditer(text):
        start, end = _whole_groups(text, match.start(), match.end())
        if _is_number_of_somebody(text[start:end]):
            parts += (text[kept_from:start], REDACTED)
            kept_from = end
    return "".join((*parts, text[kept_from:]))


def _whole_groups(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a run of groups of digits without a first or last group that is part of a word, or of a time such as 15:59."""
    if start and text[start - 1].isalnum():
        while start < end and text[start].isdecimal():
            start += 1
    following = text[end : end + 2]
    is_time = following[:1] == ":" and following[1:].isdecimal()
    if following[:1].isalnum() or is_time:
        group = end
        while group > start and text[group - 1].isdecimal():
            group -= 1
        if not is_time or end - group <= len("15"):
            end = group
    return start, end


def _is_number_of_somebody(run: str) -> bool:
    digits = sum(map(str.isdecimal, run))
    return digits >= _MIN_DIGITS and not _is_machine_address(run)


def _is_machine_address(run: str) -> bool:
    octets = run.split(".")
    return len(octets) == _OCTETS and all(octet.isdecimal() and int(octet[:4]) <= _LARGEST_OCTET for octet in octets)
