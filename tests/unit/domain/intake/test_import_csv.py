import io

import pytest

from domain.intake.import_csv import MAX_COLUMNS, CsvReader, CsvRecord
from domain.intake.import_lines import FileRefused, RecordingLines
from domain.intake.rejection import Rejection


def records(text: str, delimiter: str | None = None) -> list[CsvRecord]:
    return list(CsvReader(RecordingLines(iter(io.StringIO(text, newline=""))), delimiter))


def outcome(text: str) -> list[tuple[int, list[str] | str]]:
    return [(r.line, r.cells.detail if isinstance(r.cells, Rejection) else r.cells) for r in records(text)]


OPEN = "a quotation mark is opened here and not closed"


def test_an_open_quotation_mark_costs_its_row_alone() -> None:
    assert outcome('id,name,city\nK1,"An,Huế\nK2,Bình,Huế\nK3,"Cường, Đà Nẵng",x\n') == [
        (2, f"column 2, character 4: {OPEN}"), (3, ["K2", "Bình", "Huế"]), (4, ["K3", "Cường, Đà Nẵng", "x"]),
    ]  # fmt: skip


def test_a_mark_that_a_later_mark_closes_does_not_swallow_the_rows_between() -> None:
    text = 'id,name,city\nK1,"Tấm 5,Huế\nK2,Bình,Huế\nK3,Màn hình 24",Huế\nK4,D,x\n'
    assert [line for line, cells in outcome(text) if isinstance(cells, list)] == [3, 4, 5]
    assert outcome(text)[0] == (2, f"column 2, character 4: {OPEN}")
    assert [line for line, cells in outcome('id,name,city\nK1,"Tấm 5,x\nK2,Màn 24",Huế\n') if isinstance(cells, list)] == [3]


def test_a_cell_may_have_several_lines() -> None:
    text = 'id,note\nK1,"Xin chào,\nbạn, tôi\nvà ""họ"""\nK2,"a\r\n\r\nb"\n'
    assert outcome(text) == [(2, ["K1", 'Xin chào,\nbạn, tôi\nvà "họ"']), (5, ["K2", "a\r\n\r\nb"])]
    address = 'id,name,phone,address\nK1,An,09,"12 Lê Lợi,\nP. Bến Nghé, Q. 1, TP HCM, Việt Nam"\n'
    assert outcome(address) == [(2, ["K1", "An", "09", "12 Lê Lợi,\nP. Bến Nghé, Q. 1, TP HCM, Việt Nam"])]


def test_marks_inside_of_a_quoted_cell_must_be_doubled_and_marks_elsewhere_are_letters() -> None:
    assert outcome('id,name,city\nK1,"Công ty "Hoa Sen" Huế",x\nK2,màn 24",y\nK3, "An" ,z\n') == [
        (2, f"column 2, character 4: {OPEN}; if the one at character 13 belongs to the cell, double it"),
        (3, ["K2", 'màn 24"', "y"]),
        (4, ["K3", "An", "z"]),
    ]


def test_lines_of_a_broken_cell_are_no_rows_of_their_own() -> None:
    text = 'id,name,city\nK1,"dòng một\ndòng "hai" đây",x\nK2,b,c\n'
    assert [r.raw for r in records(text)] == ['K1,"dòng một\ndòng "hai" đây",x', "K2,b,c"]
    assert isinstance(records(text)[0].cells, Rejection)


def test_the_last_line_may_be_the_broken_one() -> None:
    assert outcome('id,name\nK1,a\nK2,"b') == [(2, ["K1", "a"]), (3, f"column 2, character 4: {OPEN}")]


@pytest.mark.parametrize("text", ['id,"name\nK1,a\n', 'id,na"me","x\nK1,a\n'])
def test_a_header_that_cannot_be_read_refuses_the_file(text: str) -> None:
    with pytest.raises(FileRefused, match=r"line 1, column \d, character \d+: a quotation mark is opened"):
        records(text)


def test_a_spreadsheets_hint_names_the_delimiter() -> None:
    assert outcome("sep=;\nid;name,x\nK1;a,b\n") == [(3, ["K1", "a,b"])]


def test_all_rows_around_open_marks_in_a_large_file_are_read() -> None:
    lines = [f"KH-{n},Nguyễn Thị Ánh,0912345678,27/4 Lê Văn Sỹ Quận 3\n" for n in range(50_000)]
    for broken in (10_000, 25_000, 25_001, 49_999):
        lines[broken] = lines[broken].replace("Nguyễn", '"Nguyễn')
    found = outcome("id,name,phone,address\n" + "".join(lines))
    assert [line for line, cells in found if isinstance(cells, str)] == [10_002, 25_002, 50_001]
    assert sum(isinstance(cells, list) for _, cells in found) == 50_000 - 4


def test_rows_between_marks_that_stay_open_to_the_end_of_the_file_are_read() -> None:
    text = "id,name\n" + 'a","b\nx,y\n' * 3
    assert [(line, isinstance(cells, list)) for line, cells in outcome(text)] == [
        (2, False), (3, True), (4, False), (5, True), (6, False), (7, True),
    ]  # fmt: skip
    assert outcome('id,name\na","b\nx,y\na","b\nc\n"d",e\n')[-1] == (6, ["d", "e"])


@pytest.mark.parametrize(
    ("hint", "cells"),
    [("sep=;\n", ["a,b", "c"]), ('"sep=;"\r\n', ["a,b", "c"]), ("sep=,\n", ["a", "b;c"]), ("sep=\t\n", ["a,b;c"])],
)
def test_the_first_line_may_name_the_delimiter(hint: str, cells: list[str]) -> None:
    assert records(f"{hint}k,l;m\na,b;c\n")[0].cells == cells


def test_a_file_of_too_many_columns_is_refused() -> None:
    names = ",".join(f"c{number}" for number in range(MAX_COLUMNS + 1))
    with pytest.raises(FileRefused, match="line 1: has 1,001 columns, the limit is 1,000"):
        records(f"{names}\n")
