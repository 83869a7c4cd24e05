"""An exported file answers like torch, says what it needs, and is not written if it does not agree."""

from __future__ import annotations

import copy
import json
import runpy
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from tests.conftest import single_thread

from serlab import Model, load_model
from serlab.core import FindingsError, MachineError, UserError, as_options
from serlab.export import checking, conversion
from serlab.export.exporting import Exported, export

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx_minimal.py"


@pytest.fixture(scope="module")
def wav2vec2(tiny_models) -> Model:
    return load_model(tiny_models["tiny-wav2vec2"], precision="fp32")


@pytest.fixture(scope="module")
def clips(tiny_corpus) -> list[Path]:
    return sorted(tiny_corpus.parent.glob("*.wav"))


@pytest.fixture(scope="module")
def converted() -> list[onnx.ModelProto]:
    """What torch's exporter gave, which takes seconds; filled by ``exported``."""
    return []


@pytest.fixture(scope="module")
def exported(wav2vec2, clips, converted, tmp_path_factory) -> Exported:
    convert = conversion.convert

    def keep(graph):
        proto = convert(graph)
        converted.append(copy.deepcopy(proto))
        return proto

    with single_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "convert", keep)
        return export(wav2vec2, tmp_path_factory.mktemp("onnx") / "model.onnx", clips=clips[:4])


def run(path: Path, samples: np.ndarray) -> np.ndarray:
    found: np.ndarray = onnxruntime.InferenceSession(path).run(None, {"audio": samples})[0]
    return found


def metadata(path: Path) -> dict[str, str]:
    return dict(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map)


@pytest.mark.parametrize("seconds", [0.1, 0.515, 3.0, 30.0])
def test_any_length_and_batch_gives_torchs_probabilities(wav2vec2, exported, seconds) -> None:
    random = np.random.default_rng(int(10 * seconds))
    batch = (0.1 * random.standard_normal((3, round(16000 * seconds)))).astype(np.float32)
    wanted = wav2vec2.predict_proba(list(batch), 16000)
    np.testing.assert_allclose(run(exported.path, batch), wanted, rtol=0, atol=1e-4)


def test_the_file_says_what_it_is_and_needs(wav2vec2, exported) -> None:
    about = metadata(exported.path)
    assert json.loads(about["labels"]) == list(wav2vec2.labels)
    assert (about["sample_rate"], about["precision"]) == ("16000", "fp32")
    assert json.loads(about["tested_uar"]) == asdict(wav2vec2.info.uar)
    assert about["corpus"] == "tiny"
    assert "the user's own corpus" in about["corpus_licence"]
    assert "clips of one length per batch, not padded" in about["needs"]
    assert exported.agreement.clips == 10
    assert exported.agreement.difference <= 1e-4
    assert exported.size == exported.path.stat().st_size
    (audio,), (probabilities,) = (part(onnxruntime.InferenceSession(exported.path)) for part in (_inputs, _outputs))
    assert (audio.name, audio.shape, audio.type) == ("audio", ["batch", "samples"], "tensor(float)")
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["batch", 3])


def test_its_temperature_gives_calibrated_probabilities(wav2vec2, exported) -> None:
    samples = (0.1 * np.random.default_rng(3).standard_normal((1, 8000))).astype(np.float32)
    powers = run(exported.path, samples)[0] ** (1 / float(metadata(exported.path)["temperature"]))
    wanted = wav2vec2.predict_proba(samples[0], 16000, calibrated=True)
    np.testing.assert_allclose(powers / powers.sum(), wanted, rtol=0, atol=1e-4)


def _inputs(session):
    return session.get_inputs()


def _outputs(session):
    return session.get_outputs()


def test_the_file_is_valid_and_names_no_file_of_this_computer(exported) -> None:
    onnx.checker.check_model(onnx.load(exported.path), full_check=True)
    content = exported.path.read_bytes()
    for trace in (b".py", b"site-packages", str(Path.home()).encode(), b"Traceback"):
        assert trace not in content


def test_the_minimal_example_agrees_with_the_command_line(
    wav2vec2, exported, clips, monkeypatch, capsys, one_thread
) -> None:
    monkeypatch.setattr(sys, "argv", ["onnx_minimal.py", str(exported.path), *map(str, clips[:3])])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    for line, clip in zip(lines, clips, strict=False):
        wanted = wav2vec2.predict(clip)
        assert line.startswith(f"{clip}: {wanted.label} (")
        shares = [float(part.rpartition(" ")[2]) for part in line.rpartition("(")[2].rstrip(")").split(", ")]
        np.testing.assert_allclose(shares, list(wanted.probabilities.values()), rtol=0, atol=1e-4)
    assert len(lines) == 3


def test_int8_is_measured_and_takes_one_clip_at_a_time(
    wav2vec2, exported, converted, clips, tmp_path, monkeypatch, one_thread
) -> None:
    monkeypatch.setattr(conversion, "convert", lambda _: copy.deepcopy(converted[0]))
    small = export(wav2vec2, tmp_path / "small.onnx", int8=True, clips=clips)
    about = json.loads(metadata(small.path)["int8"])
    wanted = wav2vec2.predict_proba(clips)
    found = np.concatenate([run(small.path, soundfile.read(clip, dtype="float32")[0][None]) for clip in clips])
    flips = int((found.argmax(axis=1) != wanted.argmax(axis=1)).sum())
    assert about == {
        "clips": len(clips),
        "flips": flips,
        "flip_rate": round(flips / len(clips), 6),
        "largest_difference": pytest.approx(np.abs(found - wanted).max(), abs=2e-6),
    }
    assert 0 < about["largest_difference"] < 0.1
    kinds = {node.op_type for node in onnx.load(small.path).graph.node}
    assert "MatMulInteger" in kinds
    assert "one clip at a time" in metadata(small.path)["needs"]
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="audio"):
        run(small.path, np.zeros((2, 8000), np.float32))


def test_a_file_that_differs_from_torch_is_not_written(
    wav2vec2, exported, converted, tmp_path, monkeypatch, one_thread
) -> None:
    kept = tmp_path / "model.onnx"
    kept.write_bytes(b"earlier")
    changed = copy.deepcopy(converted[0])
    (bias,) = (weight for weight in changed.graph.initializer if weight.name.endswith("classifier.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32([0, 0, 2e-3]), bias.name))
    monkeypatch.setattr(conversion, "convert", lambda _: changed)
    with pytest.raises(FindingsError, match=r"differ from torch by .* on a synthetic clip of .* nothing was written"):
        export(wav2vec2, kept)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert kept.read_bytes() == b"earlier"


def test_answers_that_depend_on_neighbours_are_refused(tmp_path) -> None:
    class Session:
        def run(self, _, feed):
            return [np.tile(feed["audio"].mean(), (len(feed["audio"]), 2))]

    with pytest.raises(FindingsError, match="between a clip alone and in a batch"):
        checking.require_independent(Session(), checking.trial_clips(), tmp_path)


def test_probabilities_that_are_not_finite_never_agree(wav2vec2) -> None:
    class Session:
        def run(self, _, feed):
            return [np.full((1, 3), np.nan, np.float32)]

    agreement = checking.compare(wav2vec2, Session(), checking.trial_clips()[:1], "")
    with pytest.raises(FindingsError):
        checking.require(agreement, wav2vec2.folder)


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("model.pt", {}, "must end in .onnx"),
        ("folder.onnx", {}, "is a folder"),
        ("model.onnx", {"int8": True}, "give some with --clips"),
        ("model.onnx", {"clips": [Path("nowhere")]}, "there is no file or folder nowhere"),
    ],
)
def test_mistakes_are_named_before_any_work(wav2vec2, tmp_path, monkeypatch, name, how, words) -> None:
    (tmp_path / "folder.onnx").mkdir()
    monkeypatch.setattr(conversion, "convert", None)
    with pytest.raises(UserError) as found:
        export(wav2vec2, tmp_path / name, **how)
    assert words in as_options(found.value)


def test_clips_that_cannot_be_used_are_named(tmp_path, make_tone, capsys) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    make_tone(tmp_path / "long.wav", seconds=31)
    make_tone(tmp_path / "good.wav")
    with pytest.raises(UserError) as found:
        checking.given_clips([tmp_path / "silent.wav", tmp_path / "long.wav"])
    assert as_options(found.value) == "--clips has no clip that can be used; give other files or folders."
    assert [clip.name for clip in checking.given_clips([tmp_path])] == [str(tmp_path / "good.wav")]
    told = capsys.readouterr().err
    assert f"left out: {tmp_path / 'silent.wav'} is silent." in told
    assert f"left out: {tmp_path / 'long.wav'} is longer than 30 s." in told


def test_int8_needs_enough_clips_and_a_network(wav2vec2, tiny_models, clips, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(conversion, "convert", None)
    with pytest.raises(UserError, match="at least 20 clips to measure changed labels, got 3"):
        export(wav2vec2, tmp_path / "model.onnx", int8=True, clips=clips[:3])
    with pytest.raises(UserError, match="is a support vector machine"):
        export(load_model(tiny_models["mfcc-svm"]), tmp_path / "model.onnx", int8=True, clips=clips)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(wav2vec2, tmp_path, monkeypatch, missing) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MachineError, match=rf"needs {missing}, .* pip install 'serlab\[onnx\]'"):
        export(wav2vec2, tmp_path / "model.onnx")
