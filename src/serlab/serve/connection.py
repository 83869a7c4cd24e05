"""A connection that does not wait forever for the headers of a request."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADER_S = 15.0


class Connection(H11Protocol):
    """Uvicorn's HTTP/1.1 connection, closed if the headers of a request do not arrive in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self.loop.call_later(_HEADER_S, self._look, None)

    def _look(self, before: object) -> None:
        """Close the connection if it waits for the same headers as one look before."""
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # It is over, or a WebSocket now.
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if (self.cycle is None or begun) and before is self.cycle:
            self.transport.close()
            return
        self.loop.call_later(_HEADER_S, self._look, self.cycle if begun else self)
