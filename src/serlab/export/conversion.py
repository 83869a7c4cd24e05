"""From a torch module to the bytes of an ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from serlab.audio import SAMPLE_RATE
from serlab.core import MachineError, UserError
from serlab.export.inputs import EXPORTED
from serlab.model.sounds import NATURAL_SECONDS

OPSET = 18
"""ONNX operators of December 2022: onnxruntime 1.18 and later read the file."""

SHORTEST_SECONDS = 0.1
_MOST_CLIPS = 4096
_MOST_BYTES = 2**31 - 1


def check_installed() -> None:
    """Raise a MachineError unless the extra ``onnx`` is installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MachineError(
            f"export needs {error.name}, which is not installed; install it with pip install 'serlab[onnx]'."
        ) from error


def convert(graph: nn.Module) -> Any:
    """Convert a module (batch, samples) to (batch, labels) to an ONNX model with any batch and length.

    Args:
        graph: in evaluation mode; its batch norms are merged into convolutions.

    Returns:
        The ``onnx.ModelProto``, with input ``audio`` and output ``probabilities``.

    Raises:
        UserError: torch cannot convert a part of the model, or the file would be too large.
    """
    _merge_norms(graph)
    dim = torch.export.Dim
    batch = dim("batch", min=1, max=_MOST_CLIPS)
    samples = dim("samples", min=int(SHORTEST_SECONDS * SAMPLE_RATE), max=int(NATURAL_SECONDS * SAMPLE_RATE))
    example = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 24_000)).astype(np.float32) / 10)
    try:
        with _silently(), torch.no_grad():
            program: Any = torch.onnx.export(
                graph,
                (example,),
                input_names=["audio"],
                output_names=["probabilities"],
                dynamic_shapes=({0: batch, 1: samples},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            proto = program.model_proto
    except torch.onnx.OnnxExporterError as error:
        why = " ".join(str(error.__cause__ or error).split())[:160].rstrip(".")
        raise UserError(f"torch's ONNX exporter does not support a part of this model ({why}); {EXPORTED}.") from error
    if proto.ByteSize() > _MOST_BYTES:
        raise UserError("the model is larger than 2 GB, the limit of an ONNX file; export a smaller one.")
    return proto


def plain(proto: Any, metadata: Mapping[str, str]) -> bytes:
    """Serialise a model with ``metadata``, without the traces of source files that the exporter leaves in nodes."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    proto.producer_name = "serlab"
    proto.ClearField("doc_string")
    content: bytes = proto.SerializeToString()
    return content


def _merge_norms(graph: nn.Module) -> None:
    """Merge each batch norm into the convolution before it."""
    for module in list(graph.modules()):
        children = list(module.named_children())
        for (name, first), (after, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, after, nn.Identity())


@contextmanager
def _silently() -> Iterator[None]:
    """Silence the exporter; serlab compares its result with torch itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
