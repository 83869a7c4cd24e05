"""The interface of a front end."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FeaturePrecision = Literal["fp32", "fp16", "bf16"]
"""Precisions of features; less than fp32 halves the size of the cache."""

Samples = NDArray[np.float32]
"""A clip's samples: shape (samples,), mono, 16 kHz, full scale at 1."""

Features = NDArray[np.float32]
"""A clip's features: time first, if there is a time axis, e.g. (frames, bands); (samples,) for a waveform."""


class FrontEnd(Protocol):
    """A pure function of one clip's samples.

    Attributes:
        config: everything that changes the output, as JSON-able data: equal configurations give
            equal features.
    """

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""

    def __call__(self, samples: Samples) -> Features:
        """Compute the features of one clip."""


class Rounded:
    """Front end: the features of another front end, rounded to half precision.

    Rounding is part of the front end, not of the cache, so training (with or without a cache) and
    prediction use the same features.
    """

    def __init__(self, frontend: FrontEnd, precision: FeaturePrecision) -> None:
        self.frontend, self.precision = frontend, precision

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {**self.frontend.config, "rounded": self.precision}

    def __call__(self, samples: Samples) -> Features:
        """Compute the features of one clip; values are float32 that ``precision`` holds exactly."""
        import torch

        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        features: Features = torch.from_numpy(self.frontend(samples)).to(dtype).float().numpy()
        return features


def rounded(frontend: FrontEnd, precision: FeaturePrecision) -> FrontEnd:
    """Round a front end's features to ``precision``; ``fp32`` leaves them as they are."""
    return frontend if precision == "fp32" else Rounded(frontend, precision)
