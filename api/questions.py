"""The bodies of questions about customers. They come by POST: every proxy would log an address with a phone number in it."""

from typing import Annotated

import msgspec

from ops.identity.references import MAX_TEXT_CHARS

ReferenceText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
"""`namespace:value`, such as email:an@shop.vn, or a profile id."""


class ProfileQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/profiles/lookup` and `POST /v1/identity/how`."""

    profile: ReferenceText


class PairQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/identity/why`."""

    a: ReferenceText
    b: ReferenceText


class SegmentQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/segments/why`; without a segment it asks for the state of all."""

    profile: ReferenceText
    segment: Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)] = ""
