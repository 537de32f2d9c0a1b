"""One spelling for each identifier, and none for what names nobody."""

from fractions import Fraction

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.identity.identifier_values import normalise
from domain.identity.placeholders import is_blocked
from schemas.identifiers import NAMESPACE_RANK

LAN = "+84912345678"
EXCHANGE = "+842838221234"


@pytest.mark.parametrize(
    "written",
    [
        "0912 345 678", "0912.345.678", "0912-345-678", "(+84) 912 345 678", "+84 (0)912 345 678", "0084912345678",
        "tel:0912345678",
        "84912345678", "912345678", "091.2345678", "0912345.678", "+84.912345678", "84,912,345,678",
        "\uff10\uff19\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
        "84912345678.0", "0912345678.00", "84912345678,0", "912,345,678.00", "912345678.000000",
        "8.4912345678E+10", "8,4912345678e+10", "9.12345678E8", "84.912345678E+9", "8.491234567800E+10",
        "0912345678 (H)", "0912345678a", "ĐT: 0912345678 - anh Nam", "+84 912 345 678 (Zalo)", "0912345678.0 (Zalo)",
        '="0912345678"', "'0912345678", '"0912 345 678"', "\u202a+84 912\u200b345\u00ad678\u202c", "\ufeff0912345678\u00a0",
    ],
)  # fmt: skip
def test_one_phone_number_has_one_spelling(written: str) -> None:
    assert normalise("phone", written, "VN") == normalise("caller_number", written, "VN") == LAN


@pytest.mark.parametrize(
    "written",
    [
        # Rounded, or not whole: the digits that are left are another customer's number.
        "9.12E+08", "9.1234567E8", "1.23457E+11", "8.49123E+10", "84912345678.5", "912345678.125", "84912345678,25", "9.12345678",
        "-8.4912345678E+10", "8.4912345678E-10", "8.4912345678E+09",
        # Two numbers in one cell, words.
        "0912345678/0987650321", "0912345678;0987650321", "0912345678, 0987650321", "0912ABC", "0912 ABC 678", "không có", "",
    ],
)  # fmt: skip
def test_what_is_no_phone_number_has_no_spelling(written: str) -> None:
    assert normalise("phone", written, "VN") is None


@given(
    national=st.from_regex(r"(3[2-9]|5[689]|7[06-9]|8[1-9]|9[0-46-9])[0-9]{7}", fullmatch=True),
    form=st.sampled_from(["{0}.0", "{0},0", "{0}.00", "{0:.10E}", "{0:.9E}", "{0:.6E}", "{0:.5E}", "{0:.2E}", "{0}.5", "{0:g}"]),
    country=st.sampled_from(["", "84"]),
)
def test_floating_point_never_makes_another_number(national: str, form: str, country: str) -> None:
    number = int(country + national)
    text = form.format(number if "E" in form or "g" in form else str(number))
    normalised = normalise("phone", text, "VN")
    assert normalised in (None, normalise("phone", str(number), "VN"))
    if Fraction(text.replace(",", ".")) != number:
        assert normalised is None
    elif form in ("{0}.0", "{0},0", "{0}.00", "{0:.10E}"):
        assert normalised == normalise("phone", str(number), "VN")


@pytest.mark.parametrize(
    ("written", "extension"),
    [
        ("028 3822 1234 ext 12", "12"), ("028 3822 1234 ext. 12", "12"), ("(028) 3822 1234 (máy lẻ 12)", "12"),
        ("028 3822 1234 số máy lẻ: 12", "12"), ("02838221234 nội bộ 012", "012"), ("028.38221234 nhánh 7", "7"),
        ("028 3822 1234 may le 12", "12"), ("02838221234x12", "12"), ("028 3822 1234 #12", "12"), ("02838221234,,12", "12"),
        ("02838221234.0 ext 12", "12"), ("+84-28-3822-1234;ext=12", "12"), ("tel:+84-28-3822-1234;ext=12", "12"),
    ],
)  # fmt: skip
def test_an_extension_belongs_to_the_number(written: str, extension: str) -> None:
    assert normalise("phone", written, "VN") == f"{EXCHANGE};ext={extension}"


def test_colleagues_behind_one_exchange_have_numbers_of_their_own() -> None:
    numbers = {normalise("phone", f"028 3822 1234 máy lẻ {line}", "VN") for line in range(10, 30)}
    assert len(numbers) == 20
    assert normalise("phone", "028 3822 1234", "VN") == EXCHANGE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0120", "070"), ("0121", "079"), ("0122", "077"), ("0126", "076"), ("0128", "078"),
        ("0123", "083"), ("0124", "084"), ("0125", "085"), ("0127", "081"), ("0129", "082"),
        ("0162", "032"), ("0163", "033"), ("0164", "034"), ("0165", "035"),
        ("0166", "036"), ("0167", "037"), ("0168", "038"), ("0169", "039"),
        ("0186", "056"), ("0188", "058"), ("0199", "059"),
    ],
)  # fmt: skip
def test_a_number_of_before_2018_is_the_one_that_took_its_place(old: str, new: str) -> None:
    today = normalise("phone", f"{new} 838 6688", "VN")
    assert today is not None
    assert phonenumbers.is_valid_number(phonenumbers.parse(today))
    for written in (f"{old} 838 6688", f"+84 {old[1:]} 8386688", f"84{old[1:]}8386688", f"{old[1:]}8386688.0"):
        assert normalise("phone", written, "VN") == normalise("caller_number", written, "VN") == today
    assert normalise("phone", f"+1 {old[1:]} 838 6688", "VN") != today


@pytest.mark.parametrize(
    "filler",
    [
        "0000000000", "0 000 000 000", "0999999999", "0999 999 999", "+84 999999999", "84999999999.0", "0900000000", "0300000000",
        "024 0000 0000", "1111111111", "0123456789", "+84123456789", "1234567890", "0987654321", "+84 98 765 4321", "0909090909",
        "0101010101", "+1 555 555 5555", "000000", "123456",
    ],
)  # fmt: skip
def test_a_filler_is_nobodys_number(filler: str) -> None:
    assert normalise("phone", filler, "VN") is normalise("caller_number", filler, "VN") is None


@pytest.mark.parametrize(
    "number", ["0912345678", "0988888888", "0912888888", "0911111112", "1900 1234", "0777777778", "0339 999 999"]
)
def test_a_number_with_a_run_of_digits_is_a_number(number: str) -> None:
    assert normalise("phone", number, "VN") is not None


@pytest.mark.parametrize(
    "cell",
    [
        "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#ERROR!", "#NV", "#WERT!",
        "#BEZUG!",
        "#N/A N/A", "Err:502", "########", "#GETTING_DATA", "=VLOOKUP(A1;B:C;2)", '="#N/A"', "1.23457E+11", "9,1E+10", "1E+05",
        "(null)", "NULL", "<null>", "[NULL]", "\\N", "nil", "<nil>", "None", "NaN", "NaT", "<NA>", "undefined", "null null",
        "()", "{}", "[]",
        "N/A", "n.a.", "not set", "(not set)", "Not available", "-", "--", "—", "?", "...", "0", "0.0", "00-00", "-1", "-999",
        "xxx",
        "{{userId}}", "{{ user.id }}", "user-{{id}}", "${userId}", "#{id}", "<%= id %>", "{% id %}", "*|USERID|*", "%USERID%",
        "%%id%%",
        "[[user_id]]", "{userId}", "<user_id>", "%s", "{0}", "user_id", "[object Object]",
        "not_authenticated", "Not logged in", "unauthenticated", "anonymous", "guest_user", "GUEST", "default",
        "Khách lẻ", "KHÁCH LẺ", "khach le", "khach_le", "Kha\u0301ch le\u0309", "Khách vãng lai", "khách hàng lẻ",
        "Walk-in Customer", "chưa cập nhật",
        "không có", "Không", "TRỐNG", "Ẩn danh", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "02:00:00:00:00:00",
        "\u200b", "#N/A\u200b", " \u00a0 ",
    ],
)  # fmt: skip
def test_what_stands_for_nothing_names_nobody(cell: str) -> None:
    assert {normalise(namespace, cell, "VN") for namespace in NAMESPACE_RANK} == {None}


@pytest.mark.parametrize(
    ("written", "spelling"),
    [
        ("12345.0", "12345"), ("12345,00", "12345"), ("12345.000000", "12345"), ("1.2345E+04", "12345"), ('="007"', "007"),
        ("'008", "008"),
        ("'KH-7", "KH-7"), ('"009"', "009"), ("\u201c009\u201d", "009"), ("\u200eKH-7\u200b", "KH-7"), (" KH-7\t", "KH-7"),
        ("a\u0301n", "án"),
    ],
)  # fmt: skip
def test_an_id_loses_what_a_spreadsheet_put_around_it(written: str, spelling: str) -> None:
    for namespace in ("user_id", "crm_id", "device_id", "anonymous_id"):
        assert normalise(namespace, written, "VN") == spelling


@pytest.mark.parametrize(
    "identifier",
    [
        "KH-0042", "#1001", "12.000", "1234567890.1700000000", "12345678e9012345", "GA1.2.1234567890.1700000000", "O'Brien",
        "Trọng", "Khổng", "An",
        "gid://shopify/Customer/7", "-2", "100%", "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", "名前", "Khách lẻ 7", "nullable",
        "5e3", "x",
    ],
)  # fmt: skip
def test_an_id_of_somebody_keeps_its_spelling(identifier: str) -> None:
    assert normalise("user_id", identifier, "VN") == identifier


@pytest.mark.parametrize(
    "pasted",
    [
        "an@thu.vn", " AN@Thu.VN ", "\u200fan@thu.vn", "a\u200bn@thu.vn", "an@thu\u00ad.vn", "\ufeffan@thu.vn\u2060",
        "\u00a0an@thu.vn",
        "<an@thu.vn>", "An <an@thu.vn>", '"Lan, An" <an@thu.vn>;', "mailto:an@thu.vn", "MAILTO:an@thu.vn?subject=Ch%C3%A0o",
        "<mailto:an%40thu.vn>", "an@thu.vn.", "an@thu.vn,", "an@thu.vn;", "(an@thu.vn)", "'an@thu.vn'", '="an@thu.vn"',
        "\uff41n\uff20thu.vn",
    ],
)  # fmt: skip
def test_a_pasted_email_is_the_email(pasted: str) -> None:
    assert normalise("email", pasted, "VN") == "an@thu.vn"


@pytest.mark.parametrize(
    "text",
    [
        "an@thu.vn;lan@thu.vn", "an@thu.vn, lan@thu.vn", "an@thu..vn", "an thu@thu.vn", "an@thu", "an@thu.vn>x", "an@@thu.vn",
        "@thu.vn",
        "an@10.0.0.1", "null@null.com", "test@test.com", "test@test.vn", "a@a.com", "lan@example.com", "lan@mail.example.org",
        "lan@shop.invalid",
        "khongco@gmail.com", "noemail@shop.vn", "undefined@shop.vn", "{{email}}@shop.vn",
    ],
)  # fmt: skip
def test_what_is_not_one_email_of_somebody_has_no_spelling(text: str) -> None:
    assert normalise("email", text, "VN") is None


def test_a_vietnamese_email_survives() -> None:
    assert normalise("email", "Quầy.Thu.Ngân@CửaHàng.vn", "VN") == "quầy.thu.ngân@xn--cahng-tqa2694c.vn"


@given(
    namespace=st.sampled_from(sorted(NAMESPACE_RANK)),
    value=st.text(max_size=40)
    | st.text("0123456789+-.,;:()ext#=\"'<>@ mailto vnE\u200b", max_size=40)
    | st.from_regex(r"[<'\"(]{0,2}[a-z.]{1,6}@[a-zß]{1,6}\.vn[>'\",.)]{0,2}", fullmatch=True),
)
@example("email", "İ@thu.vn")
@example("phone", "\U00010a400912345678")
@example("phone", "0120 123 4567 ext 5")
@example("user_id", '\'="7.0"')
def test_a_spelling_is_its_own_spelling(namespace: str, value: str) -> None:
    spelling = normalise(namespace, value, "VN")
    if spelling is not None:
        assert normalise(namespace, spelling, "VN") == spelling
        assert not is_blocked(spelling)
