"""Kafka's Metadata request in the version that tells the ids of topics: aiokafka has only earlier ones."""

from collections.abc import Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from runtime.bus.epochs import LogIdentity

_API_KEY: Final = 3
_API_VERSION: Final = 12
_TEXT: Final = CompactString("utf-8")


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY
    API_VERSION = _API_VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(
            ("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields),
        )),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        ("topics", CompactArray(
            ("error_code", Int16),
            ("name", _TEXT),
            ("id_high", Int64),
            ("id_low", Int64),
            ("is_internal", Boolean),
            ("partitions", CompactArray(
                ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                ("replicas", CompactArray(Int32)),
                ("isr", CompactArray(Int32)), ("offline_replicas", CompactArray(Int32)), ("tags", TaggedFields),
            )),
            ("authorized_operations", Int32),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]  # the same
    FLEXIBLE_VERSION = True
    API_KEY = _API_KEY
    API_VERSION = _API_VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(
            ("id_high", Int64), ("id_low", Int64), ("name", _TEXT), ("tags", TaggedFields),
        )),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )  # fmt: skip


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]  # the same
    API_KEY = _API_KEY

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        # All topics, of which the broker names those that this user may see. To ask for one that it may not is refused, and noted.
        return request_struct_class(None, False, False, {})


async def read_log_identity(client: AIOKafkaAdminClient, topics: Sequence[str]) -> LogIdentity:
    """Return the id of the cluster, and those of the topics that exist and that this user may see. Raises what aiokafka raises."""
    answer: dict[str, Any] = (await client._send_request(_MetadataRequest())).to_object()
    return LogIdentity(
        cluster_id=answer["cluster_id"] or "",
        topic_ids={
            topic["name"]: _to_text(topic["id_high"], topic["id_low"])
            for topic in answer["topics"]
            if topic["name"] in topics and not topic["error_code"]
        },
    )


def _to_text(high: int, low: int) -> str:
    return f"{high & (2**64 - 1):016x}{low & (2**64 - 1):016x}"
