"""The specification of a Source's webhook: how its deliveries are signed, and how they become events. Pure."""

from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self, cast
from zoneinfo import ZoneInfo

import re2
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_serializer, model_validator

from domain.fields import DateFormat, StrictModel, ZoneName
from domain.identity.namespaces import is_namespace_name
from domain.instants import InstantReading
from domain.numbers import DecimalSign
from schemas.events import CALL_TYPES

Scalar = str | int | float | bool | None
PathStep = str | int | None
"""A step of a path: a name, an index, or None for every element."""
TextTransform = Literal["lower", "upper", "trim", "hash"]
Transform = TextTransform | Literal["string", "number", "iso", "epoch_seconds", "epoch_ms", "seconds", "milliseconds", "phone"]
PathRoot = Literal["$", "@", "$headers", "$query"]
MAX_RULES: Final = 64
SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
"""Headers that hold secrets of the sender. A mapping cannot read them, since analysts can read what it makes."""
_STEP: Final = re2.compile(r"\.([^.\[\]\"\s]+)|\[(\d{1,6})\]|\[\"([^\"]+)\"\]|\[(\*)\]")
_ROOT: Final = re2.compile(r"\$(?:headers|query)\b|[$@]")
_PATH: Final = re2.compile(rf"(?:{_ROOT.pattern})(?:{_STEP.pattern})*")


@lru_cache(maxsize=4096)
def path_root(path: str) -> PathRoot:
    """Return where a path begins: the payload, the element of the innermost `each`, the request's headers, or its query."""
    match = _ROOT.match(path)
    if match is None:
        raise ValueError("the path was never checked")
    return cast("PathRoot", match[0])


@lru_cache(maxsize=4096)
def path_steps(path: str) -> tuple[PathStep, ...]:
    """Return the steps of a path behind its root. Names of headers are in small letters, as they are looked up."""
    root = path_root(path)
    steps = (
        None if match[4] else int(match[2]) if match[2] else match[1] or match[3] for match in _STEP.finditer(path, len(root))
    )  # fmt: skip
    return tuple(step.lower() if root == "$headers" and isinstance(step, str) else step for step in steps)


def _checked_path(text: str) -> str:
    if _PATH.fullmatch(text) is None:
        raise ValueError(
            'a path reads like $.order.items[0].sku, @.sku (of the element), $["a name"], $.items[*], $headers.x-topic, $query.name'
        )
    if path_root(text) in ("$headers", "$query") and len(path_steps(text)) != 1:
        raise ValueError("behind $headers and $query comes one name, as in $headers.x-topic")
    if path_root(text) == "$headers" and path_steps(text)[0] in SECRET_HEADERS:
        raise ValueError("this header holds a secret, which must not become a part of an event")
    return text


MappingPath = Annotated[str, Field(max_length=512), AfterValidator(_checked_path)]


class _StrictWebhookModel(StrictModel):
    model_config = ConfigDict(populate_by_name=True)


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class _WebhookSecret(_StrictWebhookModel):
    """The secret is named by its environment variable or file, never written inline; several, with white space between, rotate."""

    secret_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    secret_file: str | None = None

    @model_validator(mode="after")
    def _name_one_secret(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError("name secret_env or secret_file, one of them")
        return self


class _TimedSignature(_WebhookSecret):
    tolerance_s: int = Field(default=300, ge=1, le=3600, description="how old a signed instant may be, or how far ahead")


class StandardSignature(_TimedSignature):
    """Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature; a secret is `whsec_` and base64.

    Senders that Svix serves call the same headers svix-id, svix-timestamp and svix-signature.
    """

    scheme: Literal["standard"]


class HmacSignature(_TimedSignature):
    """HMAC of the body, or of the template `signed`; the secret's text is the key, or the bytes that the text encodes."""

    scheme: Literal["hmac"]
    header: HeaderName
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    key_encoding: Literal["text", "hex", "base64"] = "text"
    prefix: str = Field(default="", max_length=32)
    timestamp_header: HeaderName | None = None
    signed: str | None = Field(default=None, max_length=64, description="`{body}`, and `{timestamp}` if there is a header for it")

    @model_validator(mode="after")
    def _check_signed_template(self) -> Self:
        if self.template.count("{body}") != 1:
            raise ValueError("signed must hold {body} once")
        if ("{timestamp}" in self.template) != (self.timestamp_header is not None):
            raise ValueError(
                "a timestamp that is not signed proves nothing: use timestamp_header and {timestamp} in signed together"
            )
        return self

    @property
    def template(self) -> str:
        """The template of the signed text."""
        return self.signed or ("{body}" if self.timestamp_header is None else "{timestamp}.{body}")


class TwilioSignature(_WebhookSecret):
    """Twilio's own: X-Twilio-Signature signs the address and the fields of the form. The secret is the account's auth token.

    `url` is the address as Twilio has it. Without it, the address is put together from the request's scheme, Host and path.
    """

    scheme: Literal["twilio"]
    url: str | None = Field(default=None, pattern=r"^https?://[^\s#]{1,2048}$")


class TokenSignature(_WebhookSecret):
    """No signature, but a secret that the sender repeats: in a header, as the password of HTTP basic, or in the address.

    It is for senders that cannot sign, and proves less: whoever reads one request can make others.
    """

    scheme: Literal["token"]
    header: HeaderName | None = None
    prefix: str = Field(default="", max_length=32)
    basic: bool = False
    query: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")

    @model_validator(mode="after")
    def _name_one_carrier(self) -> Self:
        if [self.header is not None, self.basic, self.query is not None].count(True) != 1:
            raise ValueError("name the place of the secret, one of these: header, basic: true, query")
        if self.prefix and self.header is None:
            raise ValueError("prefix is a part of the header: name the header too")
        return self


AnySignature = StandardSignature | HmacSignature | TwilioSignature | TokenSignature


class ReadPath(_StrictWebhookModel):
    """The value at `path`, after the transforms in `as` and then `map`; `default` if there is none, or `map` does not have it.

    `decimal` is the decimal sign of `number`. `zone`, `day_first` and `date_format` say how `iso` reads times that do not say it
    themselves.
    """

    path: MappingPath
    as_: tuple[Transform, ...] = Field(default=(), alias="as")
    decimal: DecimalSign = "."
    zone: ZoneName = "UTC"
    day_first: bool | None = None
    date_format: DateFormat | None = None
    map: dict[str, Scalar] | None = None
    default: Scalar = None

    @property
    def instants(self) -> InstantReading:
        """How `iso` reads times that do not say it themselves."""
        return InstantReading(ZoneInfo(self.zone), self.day_first, self.date_format)


class Constant(_StrictWebhookModel):
    """A constant value, even one that looks like a path."""

    const: Any


class FirstOf(_StrictWebhookModel):
    """The first of these values that the payload has: one that is neither null nor a blank text."""

    first: tuple["MappingValue", ...] = Field(min_length=1, max_length=16)


class Join(_StrictWebhookModel):
    """The texts of these values with `with` between them, after the transforms in `as`; nothing if one of them is missing."""

    join: tuple["MappingValue", ...] = Field(min_length=1, max_length=16)
    with_: str = Field(default="-", alias="with", max_length=16)
    as_: tuple[TextTransform, ...] = Field(default=(), alias="as")


class ForEach(_StrictWebhookModel):
    """A list with an object for every element; `@` is the element."""

    each: MappingPath
    fields: dict[str, "MappingValue"] = Field(min_length=1, max_length=256)


def _value_tag(value: Any) -> str:
    for name in ("path", "const", "first", "each", "join"):
        if (isinstance(value, dict) and name in value) or (isinstance(value, _StrictWebhookModel) and hasattr(value, name)):
            return name
    return "text" if isinstance(value, str) else "scalar"


def _checked_text(text: str) -> str:
    return _checked_path(text) if text[:1] in ("$", "@") else text


MappingValue = Annotated[
    Annotated[ReadPath, Tag("path")]
    | Annotated[Constant, Tag("const")]
    | Annotated[FirstOf, Tag("first")]
    | Annotated[ForEach, Tag("each")]
    | Annotated[Join, Tag("join")]
    | Annotated[str, AfterValidator(_checked_text), Tag("text")]
    | Annotated[int | float | bool, Tag("scalar")],
    Discriminator(_value_tag),
]
"""Text that begins with `$` or `@` is a path, other text and numbers are constants; the rest are objects."""
MappingFields = dict[str, MappingValue] | MappingPath
"""Values by name (`address.city` makes an object), or the path of a whole object."""


class ValueTest(_StrictWebhookModel):
    """A test of a value other than being equal: exactly one of these. A value exists when it is neither null nor a blank text."""

    starts_with: str | tuple[str, ...] | None = None
    exists: bool | None = None
    not_: Scalar | tuple[Scalar, ...] = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _name_one_test(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("name one test: starts_with, exists, not")
        return self

    @model_serializer
    def _only_the_test(self) -> dict[str, Any]:
        """Write the test that was named, and no other: `not: null` is a test too."""
        (name,) = self.model_fields_set
        return {name.removesuffix("_"): getattr(self, name)}


Conditions = dict[MappingPath, Scalar | tuple[Scalar, ...] | ValueTest]
"""What each path must be: a value, one value of a list, or what a test accepts."""


class EventMapping(_StrictWebhookModel):
    """One event, made when all of `when` is so. Fields that the payload does not have are absent."""

    when: Conditions = Field(default_factory=dict)
    type: MappingValue
    name: MappingValue | None = None
    identifiers: dict[str, MappingValue] = Field(default_factory=dict)
    time: MappingValue | None = None
    message_id: MappingValue | None = None
    group_id: MappingValue | None = None
    properties: MappingFields = Field(default_factory=dict)
    traits: MappingFields = Field(default_factory=dict)
    context: MappingFields = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_identifiers(self) -> Self:
        """Require identifiers unless the event may be a call: the number of a call names its customer, or nobody."""
        is_other_type = isinstance(self.type, str) and self.type[:1] not in ("$", "@") and self.type not in CALL_TYPES
        if is_other_type and not self.identifiers:
            raise ValueError("identifiers: name at least one, such as user_id, email or phone")
        return self

    @model_validator(mode="after")
    def _check_namespaces(self) -> Self:
        if malformed := sorted(name for name in self.identifiers if not is_namespace_name(name)):
            raise ValueError(f"identifiers: {', '.join(malformed)}: namespaces are small letters, digits and _, such as user_id")
        return self


class MappingRule(_StrictWebhookModel):
    """Applies when every path of `when` has the value, or one of the values, or is as its test says."""

    when: Conditions = Field(default_factory=dict)
    ignore: bool = False
    each: MappingPath | None = None
    events: tuple[EventMapping, ...] = Field(default=(), max_length=16)

    @model_validator(mode="after")
    def _check_events_or_ignore(self) -> Self:
        if self.ignore == bool(self.events):
            raise ValueError("a rule has events, or `ignore: true`")
        return self


class MappingSpec(_StrictWebhookModel):
    """The first rule that applies makes the events. A payload to which no rule applies goes into quarantine."""

    rules: tuple[MappingRule, ...] = Field(min_length=1, max_length=MAX_RULES)


class WebhookSpec(_StrictWebhookModel):
    """How `POST /v1/webhook/{source}` verifies and maps a delivery."""

    signature: Annotated[AnySignature, Field(discriminator="scheme")]
    mapping: MappingSpec
