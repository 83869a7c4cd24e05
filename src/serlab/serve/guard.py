"""What every request passes: host, origin, token, requests in flight, headers of the answer, numbers."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serlab.serve.faults import RefusedError, busy, log
from serlab.serve.limits import Settings
from serlab.serve.metrics import Metrics

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
# Their answers say nothing about models or load.
_OPEN = ("/healthz", "/readyz")
_DRAIN_S = 2.0
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """The outermost layer of the application.

    Args:
        app: what it guards.
        settings: token, limits, and whether only this machine may ask.
        metrics: counts the requests.
        route_of: name of a request's route, one of few.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics, route_of: Callable[[str], str]) -> None:
        self._app, self._settings, self._metrics, self._route_of = app, settings, metrics, route_of
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if scope["type"] == "websocket":
            try:
                self._check(Headers(scope=scope), path, writes=True)
            except RefusedError:
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, start, code = scope["path"], time.monotonic(), 500
        counted = scope["method"] == "POST"
        body = _Body(receive)

        def leave() -> None:
            nonlocal counted
            self.in_flight -= counted
            counted = False

        async def with_headers(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if code >= 400:
                    leave()  # A slow sender must not hold a place.
                    await body.drain()
                there = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in _HEADERS.items() if n.encode() not in there),
                ]
            await send(message)

        self.in_flight += counted
        try:
            self._check(Headers(scope=scope), path, writes=counted)
            if counted and self.in_flight > self._settings.limits.in_flight:
                raise busy(429, "too many requests at the same time")
            await self._app(scope, body.receive, with_headers)
        except RefusedError as refused:
            await _refuse(with_headers, refused)
        except Exception as error:
            log(error)
        finally:
            leave()
            route = self._route_of(path)
            self._metrics.requests.labels(route, str(code)).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - start)

    def _check(self, headers: Headers, path: str, *, writes: bool) -> None:
        host = headers.get("host", "").rsplit(":", 1)[0] if not headers.get("host", "").endswith("]") else "[::1]"
        if self._settings.local and host.lower() not in _LOCAL:
            # Another name for this machine may be an attacker's, whose page would then count as ours.
            raise RefusedError(403, "the server answers this machine alone; ask for localhost or 127.0.0.1.")
        if writes and _is_foreign(headers):
            raise RefusedError(403, "the server does not answer the pages of other sites.")
        token = self._settings.token
        needed = token and path.startswith(("/v1/", "/metrics")) and path not in _OPEN
        if needed and not secrets.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode()):
            raise RefusedError(401, "the request needs the header Authorization: Bearer with the server's token.")


class _Body:
    """A request's body on its way to the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._ended = receive, False

    async def receive(self) -> Message:
        """The next message."""
        message = await self._receive()
        self._ended = self._ended or message["type"] != "http.request" or not message.get("more_body")
        return message

    async def drain(self) -> None:
        """Take the rest of a refused body for a moment; a sender whose connection breaks would not read the answer."""
        with suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(_DRAIN_S):
                while not self._ended:
                    await self.receive()


def _is_foreign(headers: Headers) -> bool:
    """Whether a page of another site sends a request.

    Browsers say so in Sec-Fetch-Site, which no page can change; but not on WebSockets (Chromium), not over http from
    other machines, and not if they are old. Then the page's own address in Origin must be the server's in Host.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None or origin is None:
        return site in ("cross-site", "same-site")
    try:
        page, server = urlsplit(origin), urlsplit(f"//{headers.get('host', '')}")
        usual = {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(page.scheme)
        same = (page.hostname, page.port or usual) == (server.hostname, server.port or usual)
    except ValueError:
        return True
    return page.hostname is None or not same


async def _refuse(send: Send, refused: RefusedError) -> None:
    body = json.dumps({"error": refused.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.retry_after:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
