"""Why a request is not answered: a status code and one sentence."""

from __future__ import annotations

import traceback

from serlab.core.progress import LOGGER

FAILED = "the server failed; its operator can find the reason in its log."
"""What a sender is told about an error that is not its own."""


class RefusedError(Exception):
    """A request that is not answered.

    Attributes:
        code: HTTP status.
        sentence: for the sender; it contains no path, and nothing of the upload.
        retry_after: seconds after which another try makes sense; 0 for never.
    """

    def __init__(self, code: int, sentence: str, retry_after: int = 0) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.retry_after = code, sentence, retry_after


def busy(code: int, what: str) -> RefusedError:
    """Too much to do: 429 if senders together ask too often, 503 if the work already accepted fills the server."""
    return RefusedError(code, f"{what}; try again in a second.", retry_after=1)


def log(error: Exception) -> None:
    """Log an internal error by its kind and place, because its message may quote the upload."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    LOGGER.error("internal error: %s in %s, line %s", type(error).__name__, last.name, last.lineno)
