"""One frozen Settings object, read once in each `main` from `ONEFOLD_*` variables and passed down."""

import hmac
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.connection_rules import connection_faults
from runtime.errors import Misconfigured

DEFAULT_SECRET = "embedded-only-secret"  # noqa: S105 - refused outside embedded mode


def _blank_to_none(value: Any) -> Any:
    """Return None for an empty variable: the way to unset one that a parent process or a Compose file sets."""
    return None if value == "" else value


OptionalText = Annotated[str | None, BeforeValidator(_blank_to_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_to_none)]
OptionalPath = Annotated[Path | None, BeforeValidator(_blank_to_none)]


class Settings(BaseSettings):
    """Everything that may differ between an embedded stack, Compose and a cluster."""

    model_config = SettingsConfigDict(env_prefix="ONEFOLD_", frozen=True, extra="ignore")

    mode: Literal["embedded", "server"] = Field(
        "embedded", description="embedded: loopback only, default secrets allowed; server: everything must be set"
    )
    environment: str = Field("onefold", pattern=r"^[a-z][a-z0-9-]{0,30}$", description="prefix of topics, keys and consumer groups")
    data_dir: Path = Field(
        Path(".onefold"),
        description="directory of the embedded stack and of the workers' files; put it on a disk that survives a restart",
    )
    min_free_bytes: int = Field(
        512 * 1024 * 1024, ge=0, description="free space on the disk of the stores below which the collector answers 503; 0: never"
    )
    stores_dir: Path | None = Field(
        None,
        description="in server mode: a directory on Kafka's disk, where the collector can see it, whose free space it watches",
    )
    tenant_secret: SecretStr = Field(
        SecretStr(DEFAULT_SECRET), description="key of the identifier hashes; must never change once data is stored"
    )
    default_country: str = Field("VN", pattern=r"^[A-Z]{2}$", description="country of phone numbers written without a country code")
    geoip_file: Path | None = Field(None, description="GeoIP database in MaxMind's format, for the location of context.ip")

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, comma separated")
    kafka_security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how the broker's listener is spoken to: with a login (SASL), with TLS (SSL), both or neither"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the login to Kafka is made; PLAIN sends the password itself, so use it with TLS alone"
    )
    kafka_user: OptionalText = Field(None, description="user of Kafka; the table of rights says what each process needs")
    kafka_password: OptionalSecret = Field(None, description="password of the user of Kafka")
    kafka_ca_file: OptionalPath = Field(
        None, description="PEM file of the authorities that sign the brokers' certificates; unset: those that this machine trusts"
    )
    kafka_certificate_file: OptionalPath = Field(None, description="PEM file of the certificate that this process shows to Kafka")
    kafka_key_file: OptionalPath = Field(None, description="PEM file of that certificate's key, unless it is in the same file")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of a new topic, except for topics that have a single one")
    replication_factor: int = Field(1, ge=1, le=7, description="replicas of a new topic")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="redis://, rediss:// or unix://; of a Redis Cluster redis+cluster:// or rediss+cluster:// and any of its nodes",
    )
    redis_user: OptionalText = Field(None, description="ACL user of Redis, when ONEFOLD_REDIS_URL names none")
    redis_password: OptionalSecret = Field(None, description="password of Redis, when ONEFOLD_REDIS_URL holds none")
    redis_ca_file: OptionalPath = Field(
        None, description="PEM file of the authority that signs Redis' certificate, beside those that this machine trusts"
    )
    redis_certificate_file: OptionalPath = Field(None, description="PEM file of the certificate that this process shows to Redis")
    redis_key_file: OptionalPath = Field(None, description="PEM file of that certificate's key, unless it is in the same file")
    clickhouse_url: SecretStr = Field(
        SecretStr("http://127.0.0.1:8123"), description="ClickHouse's HTTP address, may contain user:password@"
    )
    clickhouse_user: OptionalText = Field(None, description="user of ClickHouse, when ONEFOLD_CLICKHOUSE_URL names none")
    clickhouse_password: OptionalSecret = Field(None, description="password of ClickHouse, when ONEFOLD_CLICKHOUSE_URL holds none")
    clickhouse_ca_file: OptionalPath = Field(
        None, description="PEM file of the authority that signs ClickHouse's certificate, beside those that this machine trusts"
    )
    clickhouse_database: str = Field("onefold", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="ClickHouse database")

    collector_host: str = Field("127.0.0.1", description="address the collector listens on")
    collector_port: int = Field(8080, ge=0, le=65535, description="port of the collector")
    collector_cors_origins: str = Field("*", description="origins allowed to call the collector from a browser, comma separated")
    collector_max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="largest request body, after decompression")
    collector_max_event_bytes: int = Field(32 * 1024, ge=256, description="largest single event; a larger one is quarantined")
    collector_max_batch_events: int = Field(2500, ge=1, description="most events in one batch")
    collector_max_header_bytes: int = Field(
        32 * 1024, ge=4096, le=1024 * 1024, description="largest address and headers of a request to the collector, together"
    )
    collector_max_pending_bytes: int = Field(
        64 * 1024 * 1024,
        ge=64 * 1024,
        description="most bytes under way from a collector to the broker; further requests are answered 503",
    )
    collector_max_pending_records: int = Field(
        100_000, ge=1, description="most records under way from a collector to the broker; further requests are answered 503"
    )
    collector_trusted_hops: int = Field(
        0, ge=0, le=16, description="your own proxies before the collector, whose X-Forwarded-For and -Proto it trusts"
    )
    collector_analytics_js_dir: Path | None = Field(
        None, description="directory that `onefold analytics-js` has written: lets the classic snippet load from the collector"
    )
    api_host: str = Field("127.0.0.1", description="address the profile API listens on")
    api_port: int = Field(8081, ge=0, le=65535, description="port of the profile API")
    api_tokens_file: Path | None = Field(
        None,
        description="file of the profile API's tokens, which `onefold tokens` writes; by default run/api-tokens.json in the data "
        "directory",
    )
    reconcile_at: str = Field(
        "03:00",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        description="UTC time of day at which an API process compares all segments with their SQL and repairs them; empty: never",
    )
    http_headers_timeout_ms: int = Field(
        20_000, ge=10, description="longest time until the headers of a request are whole, on every HTTP port"
    )
    http_body_timeout_ms: int = Field(
        30_000, ge=10, description="longest time until the body of a request is whole, plus one second for each 64 KiB of it"
    )
    http_idle_timeout_ms: int = Field(75_000, ge=10, description="how long a connection stays open between two requests")
    http_write_timeout_ms: int = Field(60_000, ge=10, description="how long a client may take to read on in an answer")
    http_max_connections: int = Field(
        1024, ge=16, le=1_000_000, description="most connections of one HTTP port; beyond it, those without a valid key give way"
    )
    http_max_unproven_per_peer: int = Field(
        256,
        ge=1,
        description="most connections of one address on which no request with a valid key is in progress; "
        "behind a proxy of your own set it as high as ONEFOLD_HTTP_MAX_CONNECTIONS",
    )
    metrics_host: str = Field("127.0.0.1", description="address of the metrics and health endpoint")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of the metrics and health endpoint; 0 takes a free one")

    cache_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="most bytes of all caches of identifiers and other texts in one process"
    )
    commit_interval_ms: int = Field(
        500, ge=50, description="how often a stream worker commits; a crash repeats what came since the last commit"
    )
    max_poll_records: int = Field(1000, ge=1, description="most records of one poll")
    session_timeout_ms: int = Field(10_000, ge=1_000, description="Kafka session timeout: fail-over time after a kill")
    replay_margin: int = Field(
        0,
        ge=0,
        description="records a worker starts earlier than its stored position, for a Redis that fails over asynchronously",
    )
    max_slice_ms: int = Field(
        300_000,
        ge=1_000,
        description="longest time a slice may take before Kafka takes the partition away; raise it when slices fail for being slow",
    )

    consumer_batch_rows: int = Field(20_000, ge=1, description="rows of one ClickHouse insert")
    consumer_batch_ms: int = Field(250, ge=10, description="longest wait before a ClickHouse insert")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log level written")
    log_format: Literal["json", "console"] = Field("json", description="log lines as JSON or for people")

    @property
    def tenant_key(self) -> bytes:
        """The tenant secret, as the key of the identifier hashes.

        Raises Misconfigured in server mode for a secret that is unset, the default or short. It is checked where it is used, since
        the processes that hash nothing (consumers and activation) should not be given it.
        """
        secret = self.tenant_secret.get_secret_value()
        if self.mode == "server" and (len(secret) < 16 or secret == DEFAULT_SECRET):
            raise Misconfigured(
                "ONEFOLD_TENANT_SECRET is unset, the default or shorter than 16 characters: "
                "set a random secret of your own in server mode"
            )
        return secret.encode()

    @property
    def secret_fingerprint(self) -> str:
        """A keyed hash of a fixed text, by which stores know the tenant secret again; empty for a process that has no secret."""
        if self.mode == "server" and self.tenant_secret.get_secret_value() == DEFAULT_SECRET:
            return ""
        return hmac.digest(self.tenant_key, b"onefold tenant secret", "sha256").hex()

    @property
    def tokens_file(self) -> Path:
        """The file of the API's tokens."""
        return self.api_tokens_file or self.data_dir / "run" / "api-tokens.json"

    @model_validator(mode="after")
    def _connections_fit_together(self) -> Self:
        if faults := list(connection_faults(self)):
            raise ValueError("; ".join(faults))
        return self

    def topic(self, name: str) -> str:
        """Return the broker's name of topic `name`: `<environment>.<name>`."""
        return f"{self.environment}.{name}"

    def group(self, role: str) -> str:
        """Return the consumer group of `role`: `<environment>.<role>`."""
        return f"{self.environment}.{role}"


def secret_fields() -> tuple[str, ...]:
    """Return the names of the settings that are secrets; each may come from a file (see `runtime.secret_files`)."""
    return tuple(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))
