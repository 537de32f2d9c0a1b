"""Text that is safe to print on a terminal. Pure."""


def escape_controls(text: str) -> str:
    """Return the text with control characters written out, because the value of an identifier must not steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
