"""Text that is safe to print on a terminal, and the streams and consoles that let nothing else through.

What commands print holds names and values that clients of the collector chose. On a terminal, a control character in them could
move the cursor, rewrite lines, set the title or the clipboard. So `main` puts a `SafeStream` in the place of standard output and
standard error: whatever a command prints, by whatever function, passes through it. Styles and progress bars are control characters
too; they are those of a console of `open_console`, which escapes the texts themselves and writes past the stream.
"""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

_RANGES: Final = (
    (0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x061C, 0x061C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069),
)  # fmt: skip
_CONTROLS: Final = {code: f"\\u{code:04x}" for first, last in _RANGES for code in range(first, last + 1)}
"""Control characters but tab and line feed, separators of lines, and marks that turn the direction of what follows.

They are written as JSON writes them, so that JSON stays JSON.
"""


def escape_controls(text: str) -> str:
    """Return the text with control characters written out, also tabs and line breaks: for a value within a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def escape_for_terminal(text: str) -> str:
    """Return the text with all that could steer a terminal written out; tabs and line breaks stay."""
    return text if text.isprintable() else "\r\n".join(part.translate(_CONTROLS) for part in text.split("\r\n"))


class SafeStream:
    """A text stream that writes what it gets, escaped, to another one. It is no terminal, so that nobody sends styles to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, escaped, and return its length."""
        self.stream.write(escape_for_terminal(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, escaped."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Return False, wherever the stream leads to; see `is_terminal`."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def protect_streams() -> None:
    """Put safe streams in the place of standard output and standard error."""
    sys.stdout = cast("TextIO", SafeStream(sys.stdout))
    sys.stderr = cast("TextIO", SafeStream(sys.stderr))


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream, safe or not, leads to a terminal."""
    return _inner(stream).isatty()


def write_data(data: bytes) -> None:
    """Write an answer in a format of data to standard output: as it is into a file or a pipe, escaped onto a terminal."""
    sys.stdout.flush()
    if is_terminal(sys.stdout):
        sys.stdout.write(data.decode("utf-8", "replace"))
    else:
        sys.stdout.buffer.write(data)
    sys.stdout.flush()


def open_console(*, stderr: bool = False, **options: Any) -> "Console":
    """Return a console of rich whose texts are escaped and are no markup: a value in brackets is a value."""
    from ops.cli.safe_console import SafeConsole  # rich is half of the start-up time of a command

    return SafeConsole(file=_inner(sys.stderr if stderr else sys.stdout), markup=False, highlight=False, **options)


def _inner(stream: TextIO) -> TextIO:
    return stream.stream if isinstance(stream, SafeStream) else stream
