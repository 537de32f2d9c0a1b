"""The floor of the collector: the least code that takes a body over HTTP and writes it to the broker.

Run as `python -m tests.bench.collector_floor BOOTSTRAP TOPIC PORT`.
"""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from runtime.settings import Settings


async def serve(bootstrap: str, topic: str, port: int) -> None:
    """Answer 200 once the broker has the raw body: the same producer as the collector's, idempotent and with acks=all."""
    async with KafkaBus(Settings(kafka_bootstrap=bootstrap)) as bus:
        producer = await bus.producer()

        async def take(request: Request) -> Response:
            await producer.send([Outgoing(topic, await request.body())])
            return Response(b'{"success":true}', media_type="application/json")

        app = Starlette(routes=[Route("/v1/batch", take, methods=["POST"])])
        config = uvicorn.Config(
            app, host="127.0.0.1", port=port, http="httptools", lifespan="off", log_config=None, access_log=False
        )
        await uvicorn.Server(config).serve()
        await producer.aclose()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
