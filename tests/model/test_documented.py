"""The examples on using a model in docs/python-api.md run unchanged."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "python-api.md").read_text(encoding="utf-8")
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_examples_of_a_model_run(tiny_models, make_tone, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("MODEL").symlink_to(tiny_models["mfcc-svm"])
    for name in ("recording.wav", "other.wav", "recordings/a.wav"):
        make_tone(tmp_path / name, seconds=0.8)
    section = PAGE[PAGE.index("## load_model\n") : PAGE.index("## evaluate\n")]
    examples = [code for code in CODE.findall(section) if " -> " not in code]
    assert len(examples) >= 5
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)
    said = capsys.readouterr().out.splitlines()
    prediction = names["prediction"]
    assert said == [f"{prediction.label} {prediction.probabilities}", f"recordings/a.wav {prediction.label}"]
    assert names["surest"].shape == (2,)
    assert list(names["frame"]["path"]) == ["recording.wav", "other.wav"]
