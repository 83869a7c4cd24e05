"""Why a request is not answered: a status code and one sentence."""

from __future__ import annotations


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
