"""The delivery routes: messages to destinations are listed, shown and sent again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.access import TokenGate
from api.query_parameters import parse_count
from api.responses import error_response, json_response
from ops.deliveries.entries import DeliveryQuery, entry_to_json, history_to_json, list_deliveries, read_delivery, require_state
from ops.deliveries.resend import Resender
from runtime.bus.port import Bus, Producer
from runtime.clock import Clock
from runtime.settings import Settings
from warehouse.client import Warehouse

MAX_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class DeliveryDependencies:
    """The dependencies of the routes. The warehouse and the producer are connected when a request needs them."""

    settings: Settings
    clock: Clock
    bus: Bus
    warehouse: Callable[[], Awaitable[Warehouse]]
    producer: Callable[[], Awaitable[Producer]]


class DeliveryRoutes:
    """Answers the delivery routes."""

    def __init__(self, dependencies: DeliveryDependencies, gate: TokenGate) -> None:
        self._dependencies = dependencies
        self._gate = gate

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            self._gate.route("/v1/deliveries", self._list, "deliveries:read"),
            self._gate.route("/v1/deliveries/{key}", self._show, "deliveries:read"),
            self._gate.route("/v1/deliveries/{key}/resend", self._resend, "deliveries:write", "POST"),
        ]

    async def _list(self, request: Request) -> Response:
        parameters = request.query_params
        state = parameters.get("state", "all")
        require_state(state)
        query = DeliveryQuery(
            destination=parameters.get("destination", ""),
            segment=parameters.get("segment", ""),
            profile_id=parameters.get("profile_id", ""),
            state=state,
            limit=parse_count(parameters.get("limit", "50"), "limit", MAX_LISTED),
            skip=parse_count(parameters.get("skip", "0"), "skip", 1 << 31),
        )
        entries = await list_deliveries(await self._dependencies.warehouse(), query)
        return json_response(200, {"deliveries": [entry_to_json(entry) for entry in entries]})

    async def _show(self, request: Request) -> Response:
        entry, steps = await read_delivery(await self._dependencies.warehouse(), request.path_params["key"])
        return json_response(200, history_to_json(entry, steps))

    async def _resend(self, request: Request) -> Response:
        dependencies, key = self._dependencies, request.path_params["key"]
        warehouse = await dependencies.warehouse()
        entry, _ = await read_delivery(warehouse, key)
        resender = Resender(dependencies.settings, dependencies.bus, await dependencies.producer(), dependencies.clock)
        result = await resender.resend(warehouse, [entry])
        if result.refused:
            return error_response(409, "not_resendable", result.refused[0][1])
        return json_response(202, {"key": key, "state": "waiting"})
