"""Structured logs: one JSON line each (or console lines for people), with personal data and secrets redacted."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from structlog.typing import Processor

from runtime.log_storms import StormFilter
from runtime.redaction import REDACTED, without_personal_data
from runtime.settings import Settings

_PERSONAL: Final = frozenset(
    {
        "value", "values", "identifier", "identifiers", "traits", "properties", "context", "email", "phone", "user_id", "userid",
        "anonymous_id", "anonymousid", "device_id", "name_of_customer", "address", "caller", "caller_number", "authorization",
        "write_key", "writekey", "password", "secret", "token", "api_token", "tenant_secret", "raw", "body", "cookie",
    }
)  # fmt: skip


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the values of personal keys, and every e-mail address, phone number and URL password in any text."""
    for key, value in event.items():
        event[key] = REDACTED if key.lower() in _PERSONAL else _mask(value)
    return event


def _mask(value: Any) -> Any:
    if isinstance(value, str):
        return without_personal_data(value)
    if isinstance(value, dict):
        return {key: REDACTED if str(key).lower() in _PERSONAL else _mask(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(item) for item in value]
    return value


def configure(settings: Settings, role: str) -> None:
    """Send the logs of this process and of its libraries to stderr in one form. Every line has the `role`."""

    def with_role(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["role"] = role
        event.setdefault("action", event["event"])
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        with_role,
        structlog.processors.format_exc_info,
        redact,
    ]
    console = settings.log_format == "console"
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    handler.addFilter(StormFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("faust", "mode", "aiokafka", "httpx", "uvicorn", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger. It takes an event name in snake_case and facts as keywords: `log.warning("slice_waits", agent=name)`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
