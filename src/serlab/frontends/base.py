"""What a front end is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""A clip's samples: shape (samples,), mono, 16 kHz, full scale at 1."""

Features = NDArray[np.float32]
"""A clip's features: time first where there is time, e.g. (frames, bands); (samples,) for a waveform."""


class FrontEnd(Protocol):
    """A pure function of one clip's samples.

    Attributes:
        config: everything that changes the output, as JSON-able data: equal configurations give equal features.
    """

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""

    def __call__(self, samples: Samples) -> Features:
        """Compute the features of one clip."""
