"""Serve the page on one address until Ctrl-C."""

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from conflict_framing.data import MissingExtraError, UserError
from conflict_framing.model import CheckpointClassifier

_KEEP_ALIVE_SECONDS = 15
_MOST_REQUESTS = 64  # at the same time


def open_socket(host: str, port: int) -> socket.socket:
    """Listen before the model is loaded, so that a taken port is told at once.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{host}:{port}: {reason}. Choose another --port; 0 takes any that is free.") from None
    return listening


def require_framework() -> None:
    """Raises:
    MissingExtraError: the web framework is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "web", "The web page") from None


def is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    classifier: CheckpointClassifier,
    listening: socket.socket,
    *,
    annotations: Path,
    names: tuple[str, ...] = (),
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until the process is told to stop; then delete what was kept.

    Args:
        classifier: what labels.
        listening: of ``open_socket``.
        annotations: the file that corrected labels are appended to.
        names: under which it may be asked besides localhost and addresses.
        on_ready: called once requests are answered.
    """
    import uvicorn

    from conflict_framing.web.api import create_app

    class _Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        create_app(classifier, annotations=annotations, names=names),
        log_level="warning",
        access_log=False,  # addresses hold what people search for
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
        limit_concurrency=_MOST_REQUESTS,
    )
    _Server(config).run(sockets=[listening])
