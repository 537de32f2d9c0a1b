"""Reading query parameters."""

from runtime.errors import Invalid


def parse_count(text: str, path: str, maximum: int) -> int:
    """Return a whole number up to `maximum`. Raises Invalid, which names the parameter by `path`, for anything else."""
    if not (text.isascii() and text.isdigit()) or int(text) > maximum:
        raise Invalid(f"{path} is a whole number up to {maximum}", path=path, reason="malformed")
    return int(text)
