"""``serlab export``: a ResNet to fp32 and int8, and a support vector machine."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

from serlab import load_model


def probabilities(path, clips) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    return np.concatenate(
        [session.run(None, {"audio": soundfile.read(clip, dtype="float32")[0][None]})[0] for clip in clips]
    )


@pytest.mark.parametrize("name", ["tiny-resnet", "mfcc-svm"])
def test_the_file_predicts_like_the_model(serlab, tiny_models, tiny_corpus, tmp_path, name, one_thread) -> None:
    file = tmp_path / "new" / "model.onnx"
    ended = serlab("export", tiny_models[name], file)
    assert (ended.code, ended.out) == (0, f"{file}\n")
    assert f"{file}: {file.stat().st_size / 1e6:.1f} MB, fp32; equal to torch within " in ended.err
    clips = sorted(tiny_corpus.parent.glob("*.wav"))[::7]
    wanted = load_model(tiny_models[name], precision="fp32").predict_proba(clips)
    np.testing.assert_allclose(probabilities(file, clips), wanted, rtol=0, atol=1e-4)


def test_an_int8_resnet_is_calibrated_on_some_clips_and_measured_on_others(
    serlab, tiny_models, tiny_corpus, tmp_path, one_thread
) -> None:
    file = tmp_path / "model.onnx"
    ended = serlab("export", tiny_models["tiny-resnet"], file, "--int8", "--clips", tiny_corpus.parent)
    assert ended.code == 0, ended.err
    assert "of 27 clips" in ended.err
    assert "change their label" in ended.err
    clips = sorted(tiny_corpus.parent.glob("*.wav"))[1::2]
    wanted = load_model(tiny_models["tiny-resnet"], precision="fp32").predict_proba(clips)
    found = probabilities(file, clips)
    about = json.loads(onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["int8"])
    assert about["flips"] == (found.argmax(axis=1) != wanted.argmax(axis=1)).sum()
    assert about["largest_difference"] == pytest.approx(np.abs(found - wanted).max(), abs=2e-6)
    kinds = [node.op_type for node in onnx.load(file).graph.node]
    assert kinds.count("QuantizeLinear") > 8
    # The front end is not quantised: its convolution's weights are in fp32.
    weights = {tensor.name: tensor.data_type for tensor in onnx.load(file).graph.initializer}
    assert weights["before.power.bases"] == onnx.TensorProto.FLOAT


def test_a_mistake_is_one_sentence(serlab, tmp_path, tiny_models) -> None:
    ended = serlab("export", tiny_models["tiny-resnet"], tmp_path / "model.bin")
    assert (ended.code, ended.sentence) == (2, f"{tmp_path}/model.bin must end in .onnx.")
