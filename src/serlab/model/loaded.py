"""A model folder's fitted models: one for each precision and device that predictions ask for."""

from __future__ import annotations

import threading
from pathlib import Path

from serlab.approaches.base import Fitted
from serlab.core.precision import on_device
from serlab.model import folder as folders


class LoadedModels:
    """What a folder's weights are in each precision, on each device; loaded when they are first asked for.

    Attributes:
        precision: that was asked for; ``auto`` leaves it to the machine.
        device: that was asked for; None means the processor.
        default: in the precision and on the device that predictions use unless a call names others.
    """

    def __init__(self, folder: Path, precision: str, device: str | None) -> None:
        self._folder, self.precision, self.device = folder, precision, device
        self._loading = threading.Lock()
        self._loaded: dict[tuple[str, str | None], Fitted] = {}
        self.default = self._load(precision, device)

    def of(self, precision: str | None, device: str | None) -> tuple[Fitted, str | None]:
        """The fitted model in a precision and on a device, and that device; None for the defaults."""
        precision = self.precision if precision in (None, self.default.precision) else precision
        device = self.device if device is None else device
        return self._load(precision, device), device

    def _load(self, precision: str, device: str | None) -> Fitted:
        key = (precision, device)
        with self._loading, on_device(device):
            if key not in self._loaded:
                self._loaded[key] = folders.load(self._folder, precision)
            return self._loaded[key]
