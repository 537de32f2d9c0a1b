"""How every RE2 expression is compiled. Pure."""

from typing import Final

import re2

PATTERN_MEMORY_BYTES: Final = 8 << 20
"""Enough for any pattern that a definition may hold."""


def re2_options(max_memory_bytes: int = PATTERN_MEMORY_BYTES) -> re2.Options:
    """Return options that bound the memory of a compiled expression, and that write nothing to standard error."""
    options = re2.Options()
    options.max_mem = max_memory_bytes
    options.log_errors = False
    return options
