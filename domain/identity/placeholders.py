"""Values that name nobody, whoever sends them: what programs, spreadsheets and people write where they have no identifier. Pure.

Words are compared without case, accents and everything that is no letter or digit, so `Khách lẻ`, `KHACH_LE` and `(khach-le)` are
one word. That is done to words of this list alone: an identifier that is not on it keeps its spelling.
"""

from itertools import pairwise
from typing import Final

import re2

from domain.letters import unicode_form

_WORDS_OF_PROGRAMS: Final = """
    null nil none undefined nan nat na nana inf infinity dbnull nullptr nullnull undefinedundefined nullundefined optionalnil
    true false objectobject systemobject"""
_WORDS_OF_FORMS: Final = """
    notavailable notapplicable notset notprovided notspecified notfound notknown notdefined nodata novalue noid nouser nouserid
    noname youruserid yourid empty blank missing unset void unknown unidentified placeholder tbd todo test testuser testing
    khongco khongten khongro khongxacdinh chuaco chuaro chuaxacdinh chuacapnhat"""
_WORDS_FOR_VISITORS: Final = """
    anonymous anonymoususer anon unknownuser unknowncustomer guest guestuser guestcustomer guestcheckout visitor notauthenticated
    unauthenticated notloggedin notlogged loggedout notsignedin signedout nologin default defaultuser
    andanh vodanh nguoidung chuadangnhap khongdangnhap"""
_WORDS_OF_TILLS: Final = """
    walkin walkincustomer walkinguest cashcustomer retailcustomer generalcustomer khach khachhang khachle khachhangle khachvanglai
    khachhangvanglai vanglai khachmuale khachonline khachleonline khachbanle khachkhongten khachla
    banle muale"""
"""The customer of a till who gives no name: `Khách lẻ`, `khách vãng lai`, `walk-in`."""
_NAMES_OF_FIELDS: Final = """
    id user userid username customerid memberid contactid email emailaddress phone phonenumber crmid
    anonymousid deviceid"""
"""The name of the field in place of its value: of a template that was not filled in, or of a header among the rows."""
_ACCENTED_WORDS: Final = frozenset({"trống", "rỗng", "không"})
"""Words that say "nothing" with their accents alone: Trọng and Khổng are names."""
_SHARED_DEVICES: Final = "9774d56d682e549c 020000000000 ffffffffffffffffffffffffffffffff"
"""Ids that many devices have: that of old Android emulators, the hardware address that phones give to apps, the largest UUID."""
_WORDS: Final = frozenset(
    word
    for words in (_WORDS_OF_PROGRAMS, _WORDS_OF_FORMS, _WORDS_FOR_VISITORS, _WORDS_OF_TILLS, _NAMES_OF_FIELDS, _SHARED_DEVICES)
    for word in words.split()
)
_WORD: Final = r"[\pL\pN_]"
_PATTERNS: Final = (
    r"-(1|9{2,})",
    r"x{3,}",
    # Errors of Excel, Google Sheets and LibreOffice, in any language: #N/A, #REF!, #DIV/0!, #NAME?, #WERT!, #NV, Err:502.
    r"#[^\s\pZ]{1,24}[!?]|#(n[/.]|nv$|nd$|getting_data|busy|unknown).*|err:\d{3}",
    # Placeholders of formats: %USERID%, %s, %(id)s, {0}.
    rf"%[a-z_](?:{_WORD}|\.)*%|%[sd@]|%\({_WORD}+\)[sd]|\{{\d+\}}",
    rf"\[object {_WORD}+\]|\\n",
    # What is left of a formula.
    r"(?s:=.*)",
)
_PLACEHOLDER: Final = re2.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
_FIRST_OF_PLACEHOLDER: Final = frozenset("-x#e%{[\\=")
_TEMPLATE_SIGNS: Final = frozenset("{[%<*")
"""Signs without which a text is no placeholder, and holds no template: nearly every value is told by them."""
_TEMPLATE: Final = re2.compile(
    r"\{\{[^{}]*\}\}|\{%[^%]*%\}|[$#]\{[^{}]*\}|<%[^%]*%>|\*\|[^|]*\|\*|\[\[[^\[\]]*\]\]|" + rf"%%{_WORD}+%%"
)
"""A template that was not filled in, anywhere: {{userId}}, {% id %}, ${id}, #{id}, <%= id %>, *|EMAIL|*, [[id]], %%id%%."""
_NOBODYS_DOMAINS: Final = ("example.com", "example.org", "example.net", "example", "test", "invalid", "localhost")
"""Domains that nobody can own (RFC 2606)."""
_EMAIL_NAMES: Final = frozenset({"noemail", "nomail", "khongco", "khongcoemail", "khongemail", "null", "undefined", "nan"})
_MIN_EQUAL_DIGITS: Final = 6
_MIN_PAIRS: Final = 5
_MIN_ZEROS: Final = 8
_MIN_RUN_DIGITS: Final = 6


def is_blocked(value: str) -> bool:
    """Return whether a value names nobody (`null`, `-1`, `#N/A`, `Khách lẻ`, all equal digits …) and must not become a node."""
    folded = value.casefold()
    if "@" in folded and _is_blocked_email(folded):
        return True
    if not _TEMPLATE_SIGNS.isdisjoint(folded) and _TEMPLATE.search(folded) is not None:
        return True
    if (folded[:1] in _FIRST_OF_PLACEHOLDER and _PLACEHOLDER.fullmatch(folded) is not None) or _is_one_digit(folded):
        return True
    if unicode_form("NFC", folded) in _ACCENTED_WORDS:
        return True
    word = word_of(folded)
    # Without a letter or a digit, or of zeros alone (0, 0.0, the nil UUID), it names nobody either.
    return not word.strip("0") or word in _WORDS


def is_placeholder_number(digits: str) -> bool:
    """Return whether the digits of a phone number, as written or without the country, are a filler: 0900000000, 0123456789.

    A number that merely has a run of equal digits in it is no filler: in Vietnam such numbers are sold at a premium.
    """
    if not digits.strip("0") or len(set(digits)) == 1 or _is_repeated_pair(digits) or _is_prefix_of_zeros(digits):
        return True
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(digits)}
    return len(digits) >= _MIN_RUN_DIGITS and (steps == {1} or steps == {9})


def _is_one_digit(text: str) -> bool:
    """Return whether a text is one digit again and again, perhaps behind a plus sign."""
    digits = text.removeprefix("+")
    return len(digits) >= _MIN_EQUAL_DIGITS and digits.isdecimal() and len(set(digits)) == 1


def _is_repeated_pair(digits: str) -> bool:
    pairs, rest = divmod(len(digits), 2)
    return not rest and pairs >= _MIN_PAIRS and digits == digits[:2] * pairs


def _is_prefix_of_zeros(digits: str) -> bool:
    """Return whether digits are a prefix of one or two digits, perhaps behind a zero, and zeros alone: 0900000000."""
    prefix = digits.rstrip("0").removeprefix("0")
    return len(prefix) <= 2 and len(digits) - len(prefix) - digits.startswith("0") >= _MIN_ZEROS


def word_of(text: str) -> str:
    """Return the letters and digits of a text, without accents and in lower case: `Khách lẻ` is `khachle`."""
    decomposed = unicode_form("NFKD", text.casefold().replace("đ", "d").replace("ð", "d"))
    return "".join(letter for letter in decomposed if letter.isalnum())


def _is_blocked_email(folded: str) -> bool:
    local, _, domain = folded.rpartition("@")
    name = word_of(local)
    # null@null.com, test@test.vn: the same word on both sides.
    is_doubled = name == word_of(domain.partition(".")[0]) and (name in _WORDS or len(name) == 1)
    is_nobodys = any(domain == nobodys or domain.endswith(f".{nobodys}") for nobodys in _NOBODYS_DOMAINS)
    return is_doubled or is_nobodys or name in _EMAIL_NAMES
