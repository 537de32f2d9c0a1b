"""The specification of a Source's webhook: how its deliveries are signed, and how they become events. Pure."""

import re
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from domain.fields import DateFormat, StrictModel, ZoneName
from domain.identity.namespaces import NAMESPACE_PATTERN
from domain.instants import InstantReading
from domain.numbers import DecimalSign

Scalar = str | int | float | bool | None
PathStep = str | int | None
"""A step of a path: a name, an index, or None for every element."""
Transform = Literal["lower", "upper", "trim", "string", "number", "iso", "epoch_seconds", "epoch_ms"]
MAX_RULES: Final = 64
_STEP: Final = re.compile(r"\.([^.\[\]\"\s]+)|\[(\d{1,6})\]|\[\"([^\"]+)\"\]|\[(\*)\]")
_PATH: Final = re.compile(rf"[$@](?:{_STEP.pattern})*")


@lru_cache(maxsize=4096)
def path_steps(path: str) -> tuple[PathStep, ...]:
    """Return the steps of a path behind its `$` (the payload) or `@` (the element of the innermost `each`)."""
    return tuple(
        None if match[4] else int(match[2]) if match[2] else match[1] or match[3] for match in _STEP.finditer(path, 1)
    )  # fmt: skip


def _checked_path(text: str) -> str:
    if _PATH.fullmatch(text) is None:
        raise ValueError('a path reads like $.order.items[0].sku, @.sku (of the element), $["a name"], $.items[*]')
    return text


MappingPath = Annotated[str, Field(max_length=512), AfterValidator(_checked_path)]


class _StrictWebhookModel(StrictModel):
    model_config = ConfigDict(populate_by_name=True)


class _SignatureSecret(_StrictWebhookModel):
    """The secret is named by its environment variable or file, never written inline; several, with white space between, rotate."""

    secret_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    secret_file: str | None = None
    tolerance_s: int = Field(default=300, ge=1, le=3600, description="how old a signed instant may be, or how far ahead")

    @model_validator(mode="after")
    def _name_one_secret(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError("name secret_env or secret_file, one of them")
        return self


class StandardSignature(_SignatureSecret):
    """Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature; a secret is `whsec_` and base64."""

    scheme: Literal["standard"]


class HmacSignature(_SignatureSecret):
    """HMAC of the body, or of the template `signed`; the secret's text is the key."""

    scheme: Literal["hmac"]
    header: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field(default="", max_length=32)
    timestamp_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")
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

    @cached_property
    def instants(self) -> InstantReading:
        """How `iso` reads times that do not say it themselves."""
        return InstantReading(ZoneInfo(self.zone), self.day_first, self.date_format)


class Constant(_StrictWebhookModel):
    """A constant value, even one that looks like a path."""

    const: Any


class FirstOf(_StrictWebhookModel):
    """The first of these values that the payload has."""

    first: tuple["MappingValue", ...] = Field(min_length=1, max_length=16)


class ForEach(_StrictWebhookModel):
    """A list with an object for every element; `@` is the element."""

    each: MappingPath
    fields: dict[str, "MappingValue"] = Field(min_length=1, max_length=256)


def _value_tag(value: Any) -> str:
    for name in ("path", "const", "first", "each"):
        if (isinstance(value, dict) and name in value) or hasattr(value, name):
            return name
    return "text" if isinstance(value, str) else "scalar"


def _checked_text(text: str) -> str:
    return _checked_path(text) if text[:1] in ("$", "@") else text


MappingValue = Annotated[
    Annotated[ReadPath, Tag("path")]
    | Annotated[Constant, Tag("const")]
    | Annotated[FirstOf, Tag("first")]
    | Annotated[ForEach, Tag("each")]
    | Annotated[str, AfterValidator(_checked_text), Tag("text")]
    | Annotated[int | float | bool, Tag("scalar")],
    Discriminator(_value_tag),
]
"""Text that begins with `$` or `@` is a path, other text and numbers are constants; the rest are objects."""
MappingFields = dict[str, MappingValue] | MappingPath
"""Values by name (`address.city` makes an object), or the path of a whole object."""


class EventMapping(_StrictWebhookModel):
    """One event. Fields that the payload does not have are absent."""

    type: MappingValue
    name: MappingValue | None = None
    identifiers: dict[str, MappingValue] = Field(min_length=1)
    time: MappingValue | None = None
    message_id: MappingValue | None = None
    group_id: MappingValue | None = None
    properties: MappingFields = Field(default_factory=dict)
    traits: MappingFields = Field(default_factory=dict)
    context: MappingFields = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_namespaces(self) -> Self:
        if malformed := sorted(name for name in self.identifiers if re.match(NAMESPACE_PATTERN, name) is None):
            raise ValueError(f"identifiers: {', '.join(malformed)}: namespaces are small letters, digits and _, such as user_id")
        return self


class MappingRule(_StrictWebhookModel):
    """Applies when every path of `when` has the value, or one of the values."""

    when: dict[MappingPath, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
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

    signature: Annotated[StandardSignature | HmacSignature, Field(discriminator="scheme")]
    mapping: MappingSpec
