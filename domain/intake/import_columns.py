"""Find which field of an event a column of a file is, by the names that shops use or by a mapping. Pure."""

from functools import cached_property
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from domain.fields import DateFormat, StrictModel, ZoneName
from domain.identity.namespaces import is_namespace_name
from domain.instants import InstantReading
from domain.intake.import_lines import FileRefused
from domain.letters import PLAIN_D, unicode_form
from domain.numbers import DecimalSign
from schemas.identifiers import NAMESPACE_RANK

ImportKind = Literal["customers", "events"]
DEFAULT_EVENT: Final = "Order Completed"
"""The event of a row of past purchases that names no event."""
TOP_LEVEL_TARGETS: Final = frozenset({*NAMESPACE_RANK, "event", "time", "message_id"})
_NESTED_TARGETS: Final = ("traits", "properties", "context")
_MAX_NESTED_CHARS: Final = 256
_IDENTIFIERS: Final = {
    "user_id": "userid customerid customercode customernumber uid makhachhang makh mathanhvien",
    "crm_id": "crmid crm macrm",
    "email": "email emailaddress mail diachiemail thudientu hopthu",
    "phone": "phone phonenumber mobile mobilephone mobilenumber cellphone tel telephone dienthoai sodienthoai sdt dtdd dt didong",
    "anonymous_id": "anonymousid cookie cookieid",
    "device_id": "deviceid mathietbi",
    "caller_number": "callernumber sogoiden sogoi",
}
_TRAITS: Final = {
    "user_id": "id",
    "traits.name": "name fullname customername hoten hovaten tenkhachhang tenkh khachhang",
    "traits.firstName": "firstname givenname ten",
    "traits.lastName": "lastname surname familyname ho hodem holot hovatendem",
    "traits.birthday": "birthday birthdate dateofbirth dob ngaysinh sinhnhat ngaythangnamsinh",
    "traits.gender": "gender sex gioitinh",
    "traits.address.street": "address address1 street streetaddress diachi diachinha diachigiaohang",
    "traits.address.ward": "ward phuong xa phuongxa",
    "traits.address.district": "district quan huyen quanhuyen",
    "traits.address.city": "city town thanhpho tinh province tinhthanh tinhthanhpho thanhphotinh tinhtp",
    "traits.address.postalCode": "zip zipcode postcode postalcode mabuuchinh mabuudien",
    "traits.address.country": "country quocgia nuoc",
    "traits.company.name": "company companyname congty tencongty",
    "traits.createdAt": "createdat created registered registeredat signupdate ngaytao ngaydangky",
    "time": "updatedat updated timestamp ngaycapnhat",
}
_EVENTS: Final = {
    "event": "event eventname sukien tensukien",
    "time": (
        "time timestamp originaltimestamp date datetime orderdate orderedat paidat purchasedat purchasedate createdat ngay ngaymua "
        "ngaydat ngaydathang ngaymuahang thoigian thoidiem ngaygio"
    ),
    "message_id": "messageid eventid",
    "properties.order_id": "orderid ordernumber orderno madon madonhang sodon sodonhang mahoadon sohoadon",
    "properties.total": "total amount grandtotal ordertotal revenue tongtien thanhtien tongcong sotien giatridonhang doanhthu",
    "properties.currency": "currency tiente loaitien",
    "properties.product_id": "sku productid lineitemsku masanpham masp mahang",
    "properties.name": "product productname lineitemname tensanpham sanpham tenhang",
    "properties.quantity": "quantity qty lineitemquantity soluong sl",
    "properties.price": "price unitprice lineitemprice dongia gia",
}
NUMBER_TARGETS: Final = frozenset({"properties.total", "properties.quantity", "properties.price"})
INSTANT_TARGETS: Final = frozenset({"time", "traits.createdAt"})
DATE_TARGETS: Final = frozenset({"traits.birthday"})


def _checked_target(target: str | None) -> str | None:
    if target is None or target in TOP_LEVEL_TARGETS or _is_nested_target(target) or _is_identifier_target(target):
        return target
    raise ValueError(
        f"a target is one of {', '.join(sorted(TOP_LEVEL_TARGETS))}, or traits.…, properties.…, context.…, or identifiers.… "
        "for a namespace of your own; null leaves out"
    )


def _is_nested_target(target: str) -> bool:
    field, _, path = target.partition(".")
    return field in _NESTED_TARGETS and 0 < len(path) <= _MAX_NESTED_CHARS and path == path.strip() and "\n" not in path


def _is_identifier_target(target: str) -> bool:
    """Return whether a target is an identifier of any namespace: the identity rules, which may declare it, are not known here."""
    field, _, namespace = target.partition(".")
    return field == "identifiers" and is_namespace_name(namespace)


ImportTarget = Annotated[str, AfterValidator(_checked_target)]


def _without_formats(dates: Any) -> Any:
    """Return a list of targets as targets without a format."""
    return dict.fromkeys(dates) if isinstance(dates, list | tuple) else dates


class ImportMapping(StrictModel):
    """A mapping file: columns by their name in the file, values for all rows, and how times and numbers are read.

    `dates` names the targets that hold dates, as a list or each with its format: a day stays a day, a day with a time becomes an
    instant. `decimal` is the decimal sign of all numbers.
    """

    columns: dict[str, ImportTarget | None] = Field(default_factory=dict, max_length=1024)
    constants: dict[ImportTarget, str | int | float | bool] = Field(default_factory=dict, max_length=256)
    numbers: tuple[ImportTarget, ...] = ()
    decimal: DecimalSign | None = None
    dates: Annotated[dict[ImportTarget, DateFormat | None], BeforeValidator(_without_formats)] = Field(
        default_factory=dict, max_length=256
    )
    timezone: ZoneName = "UTC"
    day_first: bool = True
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)

    @cached_property
    def target_by_column(self) -> dict[str, ImportTarget | None]:
        """The targets of `columns`, by the names of columns as they are compared."""
        targets: dict[str, ImportTarget | None] = {}
        for column, target in self.columns.items():
            targets.setdefault(_compared(column), target)
        return targets

    def reading(self, target: str) -> InstantReading:
        """Return how times of a target are read that do not say it themselves."""
        return InstantReading(ZoneInfo(self.timezone), self.day_first, self.dates.get(target))


def _compared(name: str) -> str:
    return unicode_form("NFC", name).strip()


def fold_column_name(name: str) -> str:
    """Return a column's name without accents, case and punctuation: `Số điện thoại` becomes `sodienthoai`."""
    plain = unicode_form("NFD", name.casefold().translate(PLAIN_D))
    return "".join(letter for letter in plain if letter.isalnum())


def target_of_column(kind: ImportKind, name: str, mapping: ImportMapping) -> str | None:
    """Return the target of a column: by the mapping, else by its name, else under its own name; None to leave it out."""
    column_name = _compared(name)
    if column_name in mapping.target_by_column:
        return mapping.target_by_column[column_name]
    if _is_identifier_target(column_name):
        return column_name
    alias_target = _TARGET_BY_ALIAS[kind].get(fold_column_name(column_name))
    return alias_target or f"{'traits' if kind == 'customers' else 'properties'}.{column_name}"


def header_targets(kind: ImportKind, names: list[str], mapping: ImportMapping, line: int) -> list[str | None]:
    """Return the targets of columns with these names. The third column, if it has no name, is called `column 3`.

    Raises FileRefused, with `line` and column, when columns have the same name or the same field, when the file lacks a column that
    the mapping names, and when a file of events has no column that says when.
    """
    plain_names = [_compared(name) or f"column {number}" for number, name in enumerate(names, 1)]
    _require_mapped_columns(plain_names, mapping, line)
    targets = [target_of_column(kind, name, mapping) for name in plain_names]
    column_by_field: dict[str, int] = {}
    column_by_name: dict[str, int] = {}
    for column, (name, target) in enumerate(zip(plain_names, targets, strict=True), 1):
        first_column = column_by_name.setdefault(name, column)
        if target is None:
            continue
        own_field = f"{'traits' if kind == 'customers' else 'properties'}.{name}"
        fields = [field for field in (_field_of(kind, target), own_field) if field not in column_by_field]
        if not fields or first_column < column:
            other = column_by_field.get(own_field, first_column)
            raise FileRefused(
                f"line {line}, column {column}: has the name or the field of column {other}: rename one of them in the file, or "
                "leave both out with --mapping (columns: {the name: null})"
            )
        column_by_field[fields[0]] = column
    _require_targets(kind, {*targets, *mapping.constants}, mapping, line)
    return targets


def _require_mapped_columns(names: list[str], mapping: ImportMapping, line: int) -> None:
    known_names = set(names)
    for column in mapping.columns:
        if _compared(column) in known_names:
            continue
        folded, folded_names = fold_column_name(column), [fold_column_name(name) for name in names]
        similar = f": column {folded_names.index(folded) + 1} is spelled almost like it" if folded in folded_names else ""
        raise FileRefused(f"the mapping names the column `{column}`, which the header in line {line} does not have{similar}")


def _require_targets(kind: ImportKind, targets: set[str | None], mapping: ImportMapping, line: int) -> None:
    for option, named_targets in (("numbers", mapping.numbers), ("dates", mapping.dates)):
        for target in named_targets:
            if target not in targets:
                raise FileRefused(
                    f"{option} of the mapping names {target}, but no column of the header in line {line} is that field"
                )
    if kind == "events" and "time" not in targets:
        raise FileRefused(
            f"no column of the header in line {line} says when the events happened: say with --mapping which does "
            "(columns: {its name: time}), or give all rows one time (constants: {time: 2025-06-15})"
        )


def _field_of(kind: ImportKind, target: str) -> str:
    """Return the field of a call that a target is: an e-mail address of a customer is a trait."""
    return f"traits.{target}" if target in ("email", "phone") and kind == "customers" else target


def set_value(call: dict[str, Any], kind: ImportKind, target: str, value: Any) -> bool:
    """Put a value at its target in a call. Return False, and change nothing, when the call has a value there already."""
    target = _field_of(kind, target)
    if target in NAMESPACE_RANK:
        target = f"identifiers.{target}"
    head, _, rest = _CALL_FIELD_BY_TARGET.get(target, target).partition(".")
    if not rest:
        return call.setdefault(head, value) is value
    # Only the address and the company are objects: a column with its own name may have dots in it.
    keys = rest.split(".", 1) if rest.startswith(("address.", "company.")) else [rest]
    parent = call.setdefault(head, {})
    for name in keys[:-1]:
        parent = parent.setdefault(name, {})
    if not isinstance(parent, dict) or keys[-1] in parent:
        return False
    parent[keys[-1]] = value
    return True


_CALL_FIELD_BY_TARGET: Final = {"time": "timestamp", "message_id": "messageId"}


def _targets_by_alias(aliases_by_target: dict[str, str]) -> dict[str, str]:
    groups = (_IDENTIFIERS, aliases_by_target)
    return {alias: target for group in groups for target, aliases in group.items() for alias in aliases.split()}


_TARGET_BY_ALIAS: Final[dict[ImportKind, dict[str, str]]] = {
    "customers": _targets_by_alias(_TRAITS | {"message_id": "messageid"}), "events": _targets_by_alias(_EVENTS),
}  # fmt: skip
