"""Int8 weights and activations by onnxruntime's quantisation tools.

Convolutional networks use fixed ranges of activations, measured on calibration clips. Transformers use the range of
each clip (dynamic quantisation); such a file takes one clip at a time, because the range of a batch would make an
answer depend on its neighbours. The front end stays in floating point.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serlab.core.progress import bar
from serlab.export.checking import Clip

_CONVOLUTIONAL = ["Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool"]
_TRANSFORMER = ["MatMul", "Gemm"]
_SCOPES = "pkg.torch.onnx.name_scopes"


def dynamic(proto: Any) -> Any:
    """Quantise the matrix products with constant weights, and fix the batch at one clip."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    with _quietly() as folder:
        quantize_dynamic(
            proto,
            folder / "model.onnx",
            op_types_to_quantize=_TRANSFORMER,
            nodes_to_quantize=_in_network(proto),
            per_channel=True,
            # Seven bits: processors without VNNI add two products in 16 bits, which would overflow.
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return _read(folder)


def static(proto: Any, clips: Sequence[Clip]) -> Any:
    """Quantise convolutions, with ranges of activations from calibration clips.

    Args:
        proto: the model in fp32.
        clips: calibration clips.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _quietly() as folder, bar("calibrating int8", len(clips)) as progress:
        quantize_static(
            proto,
            folder / "model.onnx",
            _Reader(_counted(clips, progress)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_CONVOLUTIONAL,
            nodes_to_quantize=_in_network(proto),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return _read(folder)


def _in_network(proto: Any) -> list[str]:
    """Names of the nodes of the network, not those of the front end or the softmax."""
    names = []
    for node in proto.graph.node:
        scopes = next((each.value for each in node.metadata_props if each.key == _SCOPES), "")
        if "'network" in scopes:
            names.append(node.name)
    return names


class _Reader:
    """onnxruntime's source of calibration data."""

    def __init__(self, clips: Iterator[Clip]) -> None:
        self.clips = clips

    def get_next(self) -> dict[str, Any] | None:
        """Input of the next clip; None at the end."""
        clip = next(self.clips, None)
        return None if clip is None else {"audio": clip.samples[None]}


def _counted(clips: Iterable[Clip], progress: Any) -> Iterator[Clip]:
    for clip in clips:
        yield clip
        progress.advance()


def _read(folder: Path) -> Any:
    import onnx

    return onnx.load(folder / "model.onnx")


@contextmanager
def _quietly() -> Iterator[Path]:
    """A temporary folder; onnxruntime's advice about preparing models is silenced."""
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.setLevel(logging.ERROR)
    # Without a handler, onnxruntime's messages would add one that prints.
    root.addHandler(handler)
    try:
        with tempfile.TemporaryDirectory(prefix="serlab-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield Path(folder)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
