"""Definitions: documents with `apiVersion: onefold/v1`, `kind`, `metadata.name` and `spec`, on the topic `definitions`. Pure."""

import hashlib
import hmac
from typing import Annotated, Any, Final, Literal, get_args

import yaml
from pydantic import AwareDatetime, Field, HttpUrl, TypeAdapter, ValidationError

from domain.definitions.error_messages import error_messages
from domain.definitions.model_shapes import shape_of
from domain.definitions.yaml_text import DocumentTooLarge, check_document_size, yaml_documents
from domain.fields import NAME_PATTERN, StrictModel
from domain.identity.namespaces import NAMESPACE_PATTERN, SHIPPED_NAMESPACES, Namespaces, unknown_namespace
from domain.identity.rules import IdentityRulesSpec
from domain.intake.enrichment.spec import EnrichSpec
from domain.intake.tracking_plan import TrackingPlanSpec
from domain.intake.trust import Trust
from domain.intake.webhook_spec import WebhookSpec
from domain.segments.computed_traits import ComputedTraitSpec
from domain.segments.language import MAX_DEPTH, MAX_NODES, SegmentSpec

DefinitionName = Annotated[str, Field(pattern=NAME_PATTERN)]
MAX_DOCUMENT_BYTES: Final = 256 * 1024


class Metadata(StrictModel):
    name: DefinitionName
    title: dict[str, str] = Field(default_factory=dict)
    owner: str = ""


KeyHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.\-\[\]:]{1,255}$")]


class WriteKey(StrictModel):
    """A write key that may expire: the old key of a rotation."""

    sha256: KeyHash
    valid_until: AwareDatetime | None = None


class RateLimit(StrictModel):
    """A token bucket in every collector process: how many events a second, and how many at once after a pause."""

    events_per_second: float = Field(gt=0, le=1_000_000)
    burst_events: int = Field(ge=1, le=10_000_000)


class SourceSpec(StrictModel):
    """A website, app or system that sends events. Write keys are stored as sha256 only; several allow a rotation.

    `trust` says who can have what proves this source. With `public` that is everybody, as with the key in a website or an app: such
    a source sends no calls, `crm_id`, `caller_number`, imports or events older than 30 days, and displaces nothing that a `trusted`
    one has said. A server, a CRM or a call centre keeps its key secret: let it be `trusted`.

    With `topic_ingress` a record on the topic `touchpoints` may name this source. `enrich` says what is added to its events, and
    `webhook` how deliveries of another system are verified and mapped. When there are `cors_origins`, browsers may send from those
    origins only. `record_ip` puts the client's address into `context.ip`.
    """

    trust: Trust = "public"
    write_key_sha256: tuple[KeyHash, ...] = ()
    write_keys: tuple[WriteKey, ...] = ()
    topic_ingress: bool = False
    enrich: EnrichSpec = EnrichSpec()
    webhook: WebhookSpec | None = None
    cors_origins: tuple[Origin, ...] = ()
    rate_limit: RateLimit | None = None
    record_ip: bool = False


NamespaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Trigger(StrictModel):
    segment: DefinitionName
    on: tuple[Literal["entered", "exited"], ...] = ("entered",)


class RetrySpec(StrictModel):
    """How long a message is tried again, and the shortest and the longest wait between two attempts.

    `max_age_ms` counts from the first attempt, or from when the message had to wait behind another one of its profile. A receiver's
    `Retry-After` is obeyed up to `max_ms`.
    """

    max_age_ms: int = Field(default=72 * 3_600_000, ge=0, le=30 * 86_400_000)
    min_ms: int = Field(default=200, ge=1)
    max_ms: int = Field(default=15 * 60_000, ge=1, le=86_400_000)


class DestinationSpec(StrictModel):
    """A signed webhook. The secret (`whsec_…`) is named by its environment variable or file, never written inline.

    `identifiers` are the namespaces whose identifiers of the customer a message has. `on_backfill` decides whether messages are
    sent for the customers who are in a segment already when the segment is defined. Without encryption (`allow_plain_http`)
    everybody on the way can read messages. A password in the URL (`allow_password_in_url`) can be read by all who read definitions.
    """

    type: Literal["webhook"]
    url: HttpUrl
    secret_env: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]*$")
    secret_file: str | None = None
    triggers: tuple[Trigger, ...] = Field(min_length=1)
    identifiers: tuple[NamespaceName, ...] = ("user_id", "crm_id")
    on_backfill: Literal["skip", "send"] = "skip"
    retry: RetrySpec = RetrySpec()
    concurrency: int = Field(default=16, ge=1, le=256)
    allow_private_addresses: bool = False
    allow_plain_http: bool = False
    allow_password_in_url: bool = False


class _DefinitionDocument(StrictModel):
    apiVersion: Literal["onefold/v1"]  # noqa: N815 - the document's own spelling
    metadata: Metadata

    @property
    def key(self) -> str:
        """`kind/name`, the key on the definitions topic."""
        return f"{getattr(self, 'kind', '')}/{self.metadata.name}"


class Source(_DefinitionDocument):
    kind: Literal["Source"]
    spec: SourceSpec


class Segment(_DefinitionDocument):
    kind: Literal["Segment"]
    spec: SegmentSpec


class ComputedTrait(_DefinitionDocument):
    kind: Literal["ComputedTrait"]
    spec: ComputedTraitSpec


MAX_LIST_ENTRIES: Final = 5_000


class ListSpec(StrictModel):
    """Customers by one identifier each.

    Values are hashed when the list is applied: the topic holds `nodes` and never `values`.
    """

    namespace: Annotated[str, Field(pattern=NAMESPACE_PATTERN)]
    values: tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...] = Field(default=(), max_length=MAX_LIST_ENTRIES)
    nodes: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")], ...] = Field(default=(), max_length=MAX_LIST_ENTRIES)


class SegmentList(_DefinitionDocument):
    kind: Literal["List"]
    spec: ListSpec

    def with_hashed_values(self, secret: bytes, country: str, namespaces: Namespaces = SHIPPED_NAMESPACES) -> "SegmentList":
        """Return the list with nodes alone. Raises InvalidDefinition, which names the index of a value that is no identifier.

        `namespaces` are those of the identity rules, which may declare the one of the list.
        """
        if self.spec.values and self.spec.namespace not in namespaces:
            raise InvalidDefinition(f"{self.key}: spec.namespace: {unknown_namespace(self.spec.namespace, namespaces)}")
        nodes = set(self.spec.nodes)
        for index, value in enumerate(self.spec.values):
            identifier_and_node = namespaces.identify(self.spec.namespace, value, secret, country)
            if identifier_and_node is None:
                raise InvalidDefinition(
                    f"{self.key}: spec.values.{index}: not a {self.spec.namespace}: correct it, or leave it out"
                )
            nodes.add(identifier_and_node[1])
        spec = self.spec.model_copy(update={"values": (), "nodes": tuple(sorted(nodes))})
        return self.model_copy(update={"spec": spec})


class Destination(_DefinitionDocument):
    kind: Literal["Destination"]
    spec: DestinationSpec


class DefaultMetadata(Metadata):
    name: Literal["default"]


RULES_KEY: Final = "IdentityRules/default"


class IdentityRules(_DefinitionDocument):
    kind: Literal["IdentityRules"]
    metadata: DefaultMetadata
    spec: IdentityRulesSpec


class TrackingPlan(_DefinitionDocument):
    kind: Literal["TrackingPlan"]
    spec: TrackingPlanSpec

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources whose events the plan is for."""
        return self.spec.sources or (self.metadata.name,)


AnyDefinition = Source | TrackingPlan | IdentityRules | ComputedTrait | Segment | SegmentList | Destination
Definition = Annotated[AnyDefinition, Field(discriminator="kind")]
DEFINITION_ADAPTER: Final[TypeAdapter[AnyDefinition]] = TypeAdapter(Definition)


class InvalidDefinition(ValueError):
    """A definition cannot be used. The text names the document, the path and the cure."""


def parse_definition(document: Any, where: str) -> AnyDefinition:
    """Return the definition of a decoded document, which errors name by `where` (a file, a key). Raises InvalidDefinition."""
    try:
        check_segment_size(document)
        check_document_size(document)
        return DEFINITION_ADAPTER.validate_python(document)
    except DocumentTooLarge as error:
        raise InvalidDefinition(f"{where}: {error}") from None
    except ValidationError as error:
        kind = document.get("kind") if isinstance(document, dict) else None
        root_shape = next(
            (shape_of(model) for model in get_args(AnyDefinition) if kind in get_args(model.model_fields["kind"].annotation)), ()
        )
        messages = error_messages(document, error.errors(include_url=False), root_shape)
        raise InvalidDefinition("\n".join(f"{where}: {line}" for line in messages)) from None


def check_segment_size(document: Any) -> None:
    """Check that a segment's tree is neither too deep nor too large, whatever the document is. Raises DocumentTooLarge."""
    spec = document.get("spec") if isinstance(document, dict) and document.get("kind") == "Segment" else None
    pending = [(spec.get("where"), 0)] if isinstance(spec, dict) else []
    node_count = 0
    while pending:
        node, depth = pending.pop()
        node_count += 1
        if node_count > MAX_NODES:
            raise DocumentTooLarge(
                f"spec.where: more than {MAX_NODES} conditions: make several segments, and name them with in_segment"
            )
        branches = [node[word] for word in ("all", "any", "not") if word in node] if isinstance(node, dict) else []
        if branches and depth == MAX_DEPTH:
            raise DocumentTooLarge(
                f"spec.where: all, any and not are nested deeper than {MAX_DEPTH}: "
                "make a part a segment of its own, and name it with in_segment"
            )
        pending += [(child, depth + 1) for branch in branches for child in (branch if isinstance(branch, list) else (branch,))]


def load_yaml(text: str, where: str) -> list[AnyDefinition]:
    """Return all definitions of a YAML text, which may hold several documents. Raises InvalidDefinition."""
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise InvalidDefinition(f"{where}: larger than {MAX_DOCUMENT_BYTES} bytes: split it into several files")
    try:
        documents = yaml_documents(text)
    except DocumentTooLarge as error:
        raise InvalidDefinition(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise InvalidDefinition(f"{where}: not YAML: {_yaml_error_text(error)}") from None
    return [parse_definition(document, where) for document in documents if document is not None]


def _yaml_error_text(error: yaml.YAMLError) -> str:
    """Return the parser's message and the line, never the text itself."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    message = problem or str(error).splitlines()[0]
    return message[:120] if mark is None else f"{message[:120]}, line {mark.line + 1}, column {mark.column + 1}"


def decode_definition(value: bytes, where: str) -> AnyDefinition:
    """Return the definition of a record on the definitions topic. Raises InvalidDefinition."""
    try:
        return DEFINITION_ADAPTER.validate_json(value)
    except ValidationError:
        raise InvalidDefinition(f"{where}: the record is not a definition") from None


def encode_definition(definition: AnyDefinition) -> bytes:
    """Return the value of a definition's record on the definitions topic."""
    return definition.model_dump_json(by_alias=True).encode()


def key_hash(write_key: str) -> str:
    """Return the hash by which a write key is stored."""
    return hashlib.sha256(write_key.encode()).hexdigest()


def source_for_key(sources: list[Source], write_key: str, now_ms: int | None = None) -> Source | None:
    """Return the source of a write key that is valid at `now_ms`; without `now_ms` an expired key counts too.

    Every hash is compared in constant time, so that the duration tells nothing about the keys.
    """
    presented_hash = key_hash(write_key)
    matching_source: Source | None = None
    for source in sources:
        for stored_hash, until_ms in write_keys_of(source.spec):
            if hmac.compare_digest(stored_hash, presented_hash) and (now_ms is None or until_ms is None or now_ms < until_ms):
                matching_source = source
    return matching_source


def write_keys_of(spec: SourceSpec) -> list[tuple[str, int | None]]:
    """Return the hash of every write key, and the epoch milliseconds at which it expires, None for never."""
    expiring_keys = [
        (key.sha256, None if key.valid_until is None else int(key.valid_until.timestamp() * 1000)) for key in spec.write_keys
    ]
    return [*((stored_hash, None) for stored_hash in spec.write_key_sha256), *expiring_keys]
