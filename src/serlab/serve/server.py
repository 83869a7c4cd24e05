"""Running the service: its socket, its processes, and its orderly end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from serlab.core import MachineError, UserError, argument
from serlab.serve.limits import Settings

if TYPE_CHECKING:
    import uvicorn

    from serlab.serve.service import Service

SETTINGS = "SERLAB_SERVE_SETTINGS"
"""Variable that brings the settings to worker processes."""

_MESSAGE_BYTES = 1 << 20
_BACKLOG = 2048
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_local(host: str) -> bool:
    """Whether a server at this address answers this machine alone."""
    return host in _LOOPBACK


def run(settings: Settings, *, host: str, port: int, workers: int, opened: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then answer what was accepted, and return.

    Args:
        settings: see there.
        host: address to listen at.
        port: 0 for any free one.
        workers: processes with a copy of the models each.
        opened: told the address, e.g. ``http://127.0.0.1:8000``, when requests are answered.

    Raises:
        SerlabError: the extra ``serve`` is missing, the address cannot be used, or a folder is not a
            model.
    """
    _check_extra()
    if workers < 1:
        raise UserError(f"{argument('workers', workers)} is not above 0.")
    with _bound(host, port) as listening:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        if workers == 1:
            _run_one(settings, listening, lambda: opened(address))
        else:
            _run_several(settings, listening, workers, lambda: opened(address))


def _check_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise MachineError(
            f"the service needs {error.name}, which is not installed; install it with pip install 'serlab[serve]'."
        ) from error


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at an address, which accepts no connections yet."""
    if not 0 <= port <= 65535:
        raise UserError(f"{argument('port', port)} is not between 0 and 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as found:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as error:
            raise _why_not(host, port, error) from error
        found.set_inheritable(True)
        yield found


def _why_not(host: str, port: int, error: OSError) -> UserError | MachineError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"{argument('port', port)} is used by another program; give another port, or 0 for any free one."
        )
    if error.errno == errno.EACCES:
        return MachineError(f"{argument('port', port)} is not allowed for this user; give one from 1024 on.")
    return UserError(f"{argument('host', host)} is not an address of this machine ({error.strerror}).")


def _config(app: Any, **more: Any) -> Any:
    import uvicorn

    from serlab.serve.connection import Connection

    return uvicorn.Config(
        app, http=Connection, ws="websockets-sansio", ws_max_size=_MESSAGE_BYTES, lifespan="on", access_log=False,
        log_level="error", server_header=False, backlog=_BACKLOG, **more,
    )  # fmt: skip


def _graceful(settings: Settings) -> int:
    """Seconds after which accepted requests are given up: more than they may take."""
    return round(2 * settings.limits.timeout + settings.limits.decode_seconds) + 10


def _run_one(settings: Settings, listening: socket.socket, opened: Callable[[], None]) -> None:
    from serlab.serve.service import Service

    with _signals(_stop):
        service = Service(settings)
    try:
        server(service, opened).run([listening])
    finally:
        service.close()


def server(service: Service, opened: Callable[[], None]) -> uvicorn.Server:
    """Uvicorn's server of a service; it tells ``opened`` when it answers, and ends in order on SIGTERM and SIGINT."""
    import uvicorn

    from serlab.serve.app import create

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                opened()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # Uvicorn raises the signal again when all is done; here an orderly end is success.
            with _signals(self.handle_exit):
                yield

    return Server(_config(create(service), timeout_graceful_shutdown=_graceful(service.settings)))


def _stop(number: int, _frame: Any) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(0)


@contextmanager
def _signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _run_several(settings: Settings, listening: socket.socket, workers: int, opened: Callable[[], None]) -> None:
    from uvicorn.supervisors import Multiprocess

    from serlab.serve.metrics import FOLDER
    from serlab.serve.service import Service

    Service(settings).close()  # An error now is one sentence instead of one per process.
    with tempfile.TemporaryDirectory(prefix="serlab-metrics-") as folder:
        os.environ |= {SETTINGS: settings.as_json(), FOLDER: folder}
        config = _config(
            "serlab.serve.server:from_environment", factory=True, workers=workers,
            timeout_graceful_shutdown=_graceful(settings),
        )  # fmt: skip
        try:
            supervisor = Multiprocess(config, [listening])
            threading.Thread(target=_when_ready, args=(listening, opened), daemon=True).start()
            with suppress(KeyboardInterrupt):
                supervisor.run()
        finally:
            del os.environ[SETTINGS], os.environ[FOLDER]


def _when_ready(listening: socket.socket, opened: Callable[[], None]) -> None:
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/readyz"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # A proxy does not reach this machine.
    while True:
        with suppress(OSError), direct.open(url, timeout=5):
            opened()
            return
        time.sleep(0.2)


def from_environment() -> Any:
    """The application of a worker process."""
    from serlab.serve.app import create
    from serlab.serve.service import Service

    return create(Service(Settings.from_json(os.environ[SETTINGS])))
