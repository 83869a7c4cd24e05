"""Predict the emotion in audio files with an exported model; needs only onnxruntime, numpy and soundfile.

pip install onnxruntime numpy soundfile
serlab export MODEL model.onnx
python onnx_minimal.py model.onnx clip.wav ...
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

model, *files = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = session.get_modelmeta().custom_metadata_map
labels, rate = json.loads(about["labels"]), int(about["sample_rate"])

for file in files:
    samples, found = soundfile.read(file, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if found != rate:
        sys.exit(f"{file} is at {found} Hz, and the model needs {rate} Hz: ffmpeg -i {file} -ar {rate} new.wav")
    if not 0.1 * rate <= len(mono) <= 30 * rate:
        sys.exit(f"{file} is {len(mono) / rate:.2f} s long, and the model needs 0.1 to 30 s")
    if np.ptp(mono) < 1e-4:
        sys.exit(f"{file} is silent")
    (probabilities,) = session.run(None, {"audio": mono[None]})[0]
    shares = ", ".join(f"{label} {share:.4f}" for label, share in zip(labels, probabilities, strict=True))
    print(f"{file}: {labels[probabilities.argmax()]} ({shares})")
