"""Translates aiokafka's errors into Onefold's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import errors as kafka_errors
from aiokafka.errors import KafkaError

from runtime.errors import Misconfigured, OnefoldError, Permanent, TooLarge, Transient

_OPERATOR_ERRORS = (
    kafka_errors.AuthenticationFailedError,
    kafka_errors.AuthenticationMethodNotSupported,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.IncompatibleBrokerVersion,
    kafka_errors.InvalidConfigurationError,
    kafka_errors.InvalidReplicationFactorError,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.PolicyViolationError,
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.UnsupportedVersionError,
)
_PERMANENT_ERRORS = (
    kafka_errors.InvalidPartitionsError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.InvalidTopicError,
    kafka_errors.UnsupportedForMessageFormatError,
    kafka_errors.ConsumerStoppedError,
)

_SIZE_ERRORS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.RecordTooLargeError,
)


def translate_error(operation: str, error: BaseException) -> OnefoldError:
    """Return the OnefoldError to raise from `error`. Kafka's own text is left out: it may quote what was sent."""
    kind = type(error).__name__
    if isinstance(error, OnefoldError):
        return error
    if isinstance(error, _OPERATOR_ERRORS):
        return Misconfigured(f"Kafka refuses {operation} ({kind}): check the broker's rights and settings for Onefold")
    if isinstance(error, _SIZE_ERRORS):
        return TooLarge(f"Kafka will never accept {operation} ({kind}): a record is larger than the topic's max.message.bytes")
    if isinstance(error, _PERMANENT_ERRORS):
        return Permanent(f"Kafka will never accept {operation} ({kind})")
    return Transient(f"Kafka could not serve {operation} ({kind}): is the broker at ONEFOLD_KAFKA_BOOTSTRAP up?")


@asynccontextmanager
async def translate_errors(operation: str) -> AsyncIterator[None]:
    """Translate the errors of the block."""
    try:
        yield
    except (KafkaError, kafka_errors.ConsumerStoppedError, OSError, TimeoutError) as error:
        raise translate_error(operation, error) from error
