"""rudder-sdk-python plays a story."""

from rudderstack.analytics import client as clients
from rudderstack.analytics import request

from tests.clients.story import play, read_instructions, wrong_clock

story = read_instructions()
clock = wrong_clock(story.clock_ms, clients, request)
errors: list[str] = []
play(
    story,
    clients.Client(
        story.key, host=story.url, gzip=story.gzip, upload_interval=0.2, on_error=lambda error, _: errors.append(str(error))
    ),
    clock,
    errors,
)
