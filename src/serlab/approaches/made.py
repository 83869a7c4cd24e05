"""What is made once of a module's weights, and made again when the weights change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from serlab.core.precision import Precision, has_bf16

T = TypeVar("T")

CASTS = (torch.float32, torch.bfloat16)
"""The types that networks compute in on a processor."""
_FUSED = (
    "_convolution_pointwise",
    "_linear_pointwise",
    "_reorder_convolution_weight",
    "_reorder_linear_weight",
)


class Made(Generic[T]):
    """One result per module and use.

    The results are kept outside of the modules, which stay as transformers made them: their state,
    their export and their training do not change. A result is made again if a weight was replaced
    or changed in place. The fused steps of torch's optimisers do not count as changes, so
    :meth:`drop` has to be called in every pass that may be followed by such a step.
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[nn.Module, dict[object, tuple[tuple[tuple[int, int], ...], list[Tensor], T]]]
        self._kept = WeakKeyDictionary()

    def of(self, module: nn.Module, use: object, weights: Sequence[Tensor], make: Callable[[], T]) -> T:
        """Return what ``make`` returned for these weights.

        Args:
            module: the module.
            use: distinguishes several results of a module.
            weights: all tensors that the result depends on.
            make: computes the result; called without autograd.
        """
        state = tuple((weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in weights)
        kept = self._kept.setdefault(module, {})
        if use not in kept or kept[use][0] != state:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
                # While their memory is held, no other weights can have the same address.
                kept[use] = (state, [weight.detach() for weight in weights], make())
        return kept[use][2]

    def drop(self, module: nn.Module) -> None:
        """Forget a module's results."""
        self._kept.pop(module, None)


def computed_in(x: Tensor) -> torch.dtype:
    """The type of matrix products of ``x``: that of autocast, if it is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def on_processor(x: Tensor) -> bool:
    """Whether ``x`` can take one of serlab's own ways: values on the processor, and not an export."""
    return x.device.type == "cpu" and computed_in(x) in CASTS and not torch.compiler.is_exporting()


def type_of(precision: Precision) -> torch.dtype:
    """The type that :func:`serlab.core.precision.autocast` computes floating products in."""
    half = precision == "bf16" or (precision == "int8" and has_bf16())
    return torch.bfloat16 if half else torch.float32


def fuses() -> bool:
    """Whether this torch has the products with a fused activation that its compiler uses."""
    backend: Any = torch.backends.mkldnn
    return backend.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _FUSED)
