"""Letters that Unicode does not decompose into a letter and a mark, and that people mean as another one. Pure."""

from typing import Final

STROKED_D: Final = "đĐðÐɖƉ"
"""The Vietnamese đ and the letters that are typed for it: Icelandic eth, whose capital Ð looks exactly like Đ, and African d."""
PLAIN_D: Final = str.maketrans(dict.fromkeys(STROKED_D, "d"))
"""The table for `str.translate` that makes each of them a d, in whatever case."""
