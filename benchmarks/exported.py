"""``python -m benchmarks.exported MODEL CLIPS``: size, latency and changed labels of ONNX files against torch.

CLIPS is a folder of clips that the model was not trained on. Half of them calibrate int8 ResNets; labels are compared
on the others. Latency is that of one clip at a time on one thread, from samples to probabilities.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from serlab.audio import SAMPLE_RATE
from serlab.core.files import write_json
from serlab.core.progress import bar, show
from serlab.export.checking import Clip, given_clips
from serlab.export.exporting import export
from serlab.model.model import Model, load_model


def main(folder: Path, sounds: Path) -> None:
    """Export in both precisions, measure, print the table's rows and store them with the other results."""
    torch.set_num_threads(1)
    model = load_model(folder, precision="fp32")
    clips = given_clips([sounds])[1::2]
    weights = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    exact, seconds = _measured("torch", lambda clip: model.predict_proba(clip.samples, SAMPLE_RATE), clips)
    rows = [_row("torch fp32", weights, seconds, exact, exact)]
    with tempfile.TemporaryDirectory() as place:
        for precision in ("fp32", "int8"):
            exported = export(model, Path(place) / f"{precision}.onnx", int8=precision == "int8", clips=[sounds])
            found, seconds = _measured(precision, _session(exported.path), clips)
            rows.append(_row(f"ONNX {precision}", exported.size, seconds, found, exact))
    name = _name(model)
    for row in rows:
        print(
            f"| {name} | {row['runtime']} | {row['bytes'] / 1e6:.1f} | {1000 * row['seconds']:.1f} | "
            f"{100 * row['flips']:.1f} | {row['largest_probability_difference']:.1g} |"
        )
    about = {"clips": len(clips), "mean_seconds": float(np.mean([len(clip.samples) for clip in clips]) / SAMPLE_RATE)}
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    result: dict[str, Any] = {"recipe": name, **about, "versions": versions, "rows": rows}
    write_json(Path(__file__).parent / "results" / f"export-{name}.json", json.loads(json.dumps(result)))


def _name(model: Model) -> str:
    return model.info.recipe or model.folder.name


def _session(path: Path) -> Callable[[Clip], Any]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return lambda clip: session.run(None, {"audio": clip.samples[None]})[0][0]


def _measured(title: str, predict: Callable[[Clip], Any], clips: list[Clip]) -> tuple[Any, float]:
    """Probabilities of all clips, and the median seconds of one."""
    predict(clips[0])
    found, seconds = [], []
    with bar(title, len(clips)) as progress:
        for clip in clips:
            # CPU time: other programs on the machine do not count.
            start = time.process_time()
            found.append(predict(clip))
            seconds.append(time.process_time() - start)
            progress.advance()
    return np.array(found), float(np.median(seconds))


def _row(runtime: str, size: int, seconds: float, found: Any, exact: Any) -> dict[str, Any]:
    return {
        "runtime": runtime,
        "bytes": size,
        "seconds": seconds,
        "flips": float((found.argmax(axis=1) != exact.argmax(axis=1)).mean()),
        "largest_probability_difference": float(np.abs(found - exact).max()),
    }


if __name__ == "__main__":
    show()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
