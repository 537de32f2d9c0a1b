"""A console of rich that writes styles, and escapes every text. It lies apart from `terminal` because rich is slow to import."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ops.cli.terminal import escape_for_terminal


class SafeConsole(Console):
    """A console whose segments hold no control characters but rich's own, which rich keeps apart from texts."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of what is printed, each with its text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_for_terminal(segment.text), segment.style)
