"""Free ports for services and processes of tests."""

import socket


def free_port() -> int:
    """Return a loopback port that nothing listens on now.

    Another process could take it before the caller does: take one port just before it is needed.
    """
    with socket.socket() as reservation:
        reservation.bind(("127.0.0.1", 0))
        port: int = reservation.getsockname()[1]
        return port
