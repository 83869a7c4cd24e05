"""One model, every form of input: the same predictions, the same errors."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from serlab import Model, Prediction, SerlabError, load_model
from serlab.audio import Audio
from serlab.core import MachineError, UserError

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")
RATE = 16000


@pytest.fixture
def clips(tiny_corpus) -> list[Path]:
    return sorted(tiny_corpus.parent.glob("*.wav"))[::5]


@pytest.fixture(scope="module")
def models(tiny_models) -> dict[str, Model]:
    return {name: load_model(tiny_models[name], precision="fp32") for name in NAMES}


@pytest.fixture
def svm(models) -> Model:
    return models["mfcc-svm"]


def sound(seconds: float = 0.6, rate: int = RATE, seed: int = 0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return 0.3 * np.sin(2 * np.pi * 480 * time) + 0.02 * noise


def assert_same(found: Prediction, expected: Prediction, within: float = 1e-6) -> None:
    assert found.label == expected.label
    assert list(found.probabilities) == list(expected.probabilities)
    np.testing.assert_allclose(
        list(found.probabilities.values()), list(expected.probabilities.values()), rtol=0, atol=within
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_path_an_array_audio_a_list_and_the_command_line_say_the_same(
    models, tiny_models, clips, serlab, name, one_thread
):
    model = models[name]
    ended = serlab("predict", "--model", tiny_models[name], "--precision", "fp32", "--format", "json", *clips)
    command_line = [Prediction(**row) for row in json.loads(ended.out)["predictions"]]
    listed = model.predict(clips)
    arrays = [soundfile.read(path, dtype="int16")[0] for path in clips]
    together = model.predict(arrays, RATE)
    rows = model.predict_proba(clips)
    assert rows.shape == (len(clips), len(model.labels))
    for number, path in enumerate(clips):
        one = model.predict(path)
        assert one.path == str(path)
        assert one.label == max(one.probabilities, key=one.probabilities.get)
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert model.predict(str(path)) == one
        assert_same(listed[number], one)
        assert_same(command_line[number], one)
        assert listed[number].path == command_line[number].path == str(path)
        assert_same(model.predict(arrays[number], RATE), one, within=0)
        assert model.predict(arrays[number], RATE).path is None
        assert_same(together[number], one)
        assert_same(model.predict(Audio.from_file(path)), one, within=0)
        np.testing.assert_array_equal(model.predict_proba(path), list(one.probabilities.values()))
        np.testing.assert_allclose(rows[number], model.predict_proba(path), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_types_rates_and_channels_of_one_sound(models, tmp_path, name):
    model, samples = models[name], sound()
    integers = np.round(samples * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", integers, RATE)
    expected = model.predict(tmp_path / "a.wav")
    exact = integers / 32768
    for array in (integers, exact, exact.astype(np.float32), integers.astype(np.int32) << 16):
        assert_same(model.predict(array, RATE), expected, within=0)
        stereo = np.stack([array, array])
        assert_same(model.predict(stereo, RATE), expected)
        assert_same(model.predict(stereo.T, RATE), expected)
        assert_same(model.predict(array[np.newaxis], RATE), expected)
    fast = sound(rate=48000)
    soundfile.write(tmp_path / "fast.wav", fast, 48000, subtype="FLOAT")
    soundfile.write(tmp_path / "slow.wav", soxr.resample(fast, 48000, RATE, quality="HQ"), RATE, subtype="FLOAT")
    at_48_khz = model.predict(fast, 48000)
    assert_same(at_48_khz, model.predict(tmp_path / "fast.wav"))
    assert_same(at_48_khz, model.predict(tmp_path / "slow.wav"), within=1e-5)


BAD_ARRAYS = {
    "empty": (np.zeros(0), RATE, "no samples"),
    "NaN": (np.full(RATE, np.nan), RATE, "non-finite"),
    "infinite": (np.full(RATE, np.inf), RATE, "non-finite"),
    "integers as floats": (1000 * sound(), RATE, "peak"),
    "too short": (sound(0.05), RATE, "shorter than 0.1 s"),
    "one sample": (np.ones(1), RATE, "shorter than 0.1 s"),
    "three axes": (np.ones((2, 2, RATE)), RATE, r"shape \(2, 2, 16000\)"),
    "no axis": (np.float64(1), RATE, r"shape \(\)"),
    "nine channels": (np.ones((9, RATE)), RATE, r"shape \(9, 16000\)"),
    "64 bits": (np.ones(RATE, np.int64), RATE, "int64"),
    "complex": (np.ones(RATE, complex), RATE, "complex"),
    "text": (np.array(["a"]), RATE, "cannot be used"),
    "0 Hz": (sound(), 0, "sample rate of 0"),
    "-1 Hz": (sound(), -1, "sample rate of -1"),
    "half a Hz": (sound(), 16000.5, "sample rate of 16000.5"),
    "no finite rate": (sound(), 10**400, "sample rate far above 192000 Hz"),
    "no rate": (sound(), None, "sample_rate is missing"),
    "nothing": (None, RATE, "cannot be used"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_are_not_clips(svm, case):
    samples, rate, why = BAD_ARRAYS[case]
    for ask in (svm.predict, svm.predict_proba):
        with pytest.raises(SerlabError, match=why) as caught:
            ask(samples, rate)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: folder / "absent.wav", "absent.wav"),
        (lambda folder: folder, "a folder, not a file"),
        (lambda folder: str(folder / "absent.wav"), "absent.wav"),
    ],
)
def test_paths_that_are_not_clips(svm, tmp_path, make, why):
    with pytest.raises(SerlabError, match=why):
        svm.predict(make(tmp_path))


def test_an_unusable_item_of_a_list_is_named(svm, clips):
    good = clips[0]
    for items, rate, why in (
        ([good, good.with_name("absent.wav")], None, r"x\[1\]: .*absent\.wav"),
        ([sound(), np.zeros(0), sound()], RATE, r"x\[1\]: .*no samples"),
        ([good, good, sound()], None, r"x\[2\]: sample_rate is missing"),
        ([sound(), good], RATE, r"x\[1\]: sample_rate=16000 is for arrays"),
        ([0.1, 0.2], RATE, r"x\[0\]: .*shape \(\)"),
        ([good] * 40 + [None], None, r"x\[40\]: "),
    ):
        for listed in (items, tuple(items)):
            with pytest.raises(SerlabError, match=why):
                svm.predict(listed, rate)


@pytest.mark.parametrize("rate", [np.int64(RATE), np.uint16(RATE), float(RATE), np.float32(RATE)])
def test_a_long_array_is_divided_whatever_the_type_of_its_rate(svm, rate):
    long = np.tile(sound(), 52)
    assert svm.predict(long, rate, vad="none") == svm.predict(long, RATE, vad="none")
    assert svm.predict(long, rate).segments
    np.testing.assert_array_equal(svm.embed(long, rate), svm.embed(long, RATE))


def test_a_rate_is_for_arrays_only(svm, clips):
    for given in (clips[0], str(clips[0]), Audio.from_file(clips[0])):
        with pytest.raises(UserError, match="sample_rate=16000 is for arrays"):
            svm.predict(given, RATE)


def test_lists_may_mix_files_and_audio_and_be_empty(svm, clips):
    found = svm.predict([clips[0], Audio.from_array(sound(), RATE), str(clips[1])])
    assert [one.path for one in found] == [str(clips[0]), None, str(clips[1])]
    assert svm.predict([]) == []
    assert svm.predict_proba([]).shape == (0, 3)


@pytest.mark.parametrize("name", NAMES)
def test_silence_has_no_label(models, tmp_path, name):
    model, nothing = models[name], Prediction(None, {})
    assert model.predict(np.zeros(RATE), RATE) == nothing
    assert model.predict(np.full((RATE, 2), 0.25), RATE) == nothing
    assert model.predict(np.full(RATE, 128, np.uint8), RATE) == nothing
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert model.predict(tmp_path / "a.wav") == Prediction(None, {}, str(tmp_path / "a.wav"))
    silent, heard = model.predict([np.zeros(RATE), sound()], RATE)
    assert silent == nothing
    assert_same(heard, model.predict(sound(), RATE))
    rows = model.predict_proba([np.zeros(RATE), sound()], RATE)
    assert np.isnan(rows[0]).all()
    assert rows[1].sum() == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_a_model(models, clips, name, one_thread):
    model = models[name]
    arrays = [soundfile.read(path)[0] for path in clips]
    alone = [model.predict(array, RATE) for array in arrays]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda array: model.predict(array, RATE), arrays * 6))
        lists = list(pool.map(lambda _: model.predict(clips), range(4)))
    for number, one in enumerate(together):
        assert_same(one, alone[number % len(alone)], within=0)
    for found in lists:
        for one, expected in zip(found, alone, strict=True):
            assert_same(one, expected)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_load_the_folder_again(models, clips, name, one_thread):
    expected = models[name].predict(clips)
    for other in (copy.deepcopy(models[name]), pickle.loads(pickle.dumps(models[name]))):
        assert other is not models[name]
        assert (other.folder, other.precision) == (models[name].folder.resolve(), models[name].precision)
        assert other.predict(clips) == expected
    assert len(pickle.dumps(models[name])) < 1000


def test_a_call_may_ask_for_another_precision(models, tiny_models, clips):
    model = models["tiny-wav2vec2"]
    plain = model.predict(clips[0])
    rounded = model.predict(clips[0], precision="bf16")
    assert rounded.probabilities != plain.probabilities
    assert rounded == load_model(tiny_models["tiny-wav2vec2"], precision="bf16").predict(clips[0])
    assert model.predict(clips[0]) == plain
    assert model.precision == "fp32"
    np.testing.assert_array_equal(model.predict_proba(clips[0], precision="bf16"), list(rounded.probabilities.values()))


@pytest.mark.parametrize("name", NAMES)
def test_unknown_precisions_and_devices_are_errors_on_every_way_in(models, tiny_models, clips, name):
    model = models[name]
    for wrong in ("fp8", ""):
        for ask in (
            lambda: load_model(tiny_models[name], precision=wrong),  # noqa: B023
            lambda: model.predict(clips[0], precision=wrong),  # noqa: B023
            lambda: model.predict(clips, precision=wrong),  # noqa: B023
            lambda: model.predict_proba(clips[0], precision=wrong),  # noqa: B023
        ):
            with pytest.raises(UserError, match=f"precision={wrong} is not one of auto, fp32, bf16, int8"):
                ask()
    for wrong, kind, why in (("tpu", UserError, "is unknown"), ("cuda:99", MachineError, "is not available")):
        for ask in (
            lambda: load_model(tiny_models[name], device=wrong),  # noqa: B023
            lambda: model.predict(clips[0], device=wrong),  # noqa: B023
            lambda: model.predict_proba(clips[0], device=wrong),  # noqa: B023
        ):
            with pytest.raises(kind, match=f"device={wrong} {why}"):
                ask()


def test_a_device_may_be_named(models, clips):
    model = models["tiny-resnet"]
    assert_same(model.predict(clips[0], device="cpu"), model.predict(clips[0]), within=1e-5)


def test_abstaining_leaves_probabilities(tiny_models, clips, tmp_path):
    folder = tmp_path / "unsure"
    shutil.copytree(tiny_models["tiny-resnet"], folder)
    content = json.loads((folder / "serlab.json").read_text())
    content["signature"]["training"]["reliance"] = {"temperature": 1.0, "thresholds": [1.0] * 50}
    (folder / "serlab.json").write_text(json.dumps(content))
    model = load_model(folder)
    answered, abstained = model.predict(clips[0]), model.predict(clips[0], abstain=0.1)
    assert answered.label
    assert abstained == Prediction(None, answered.probabilities, answered.path)
    with pytest.raises(UserError, match=r"0\.01 to 0\.5"):
        model.predict(clips[0], abstain=2)


def test_predicting_prints_nothing(svm, clips, capfd):
    svm.predict(clips * 5)
    assert capfd.readouterr() == ("", "")


def test_classical_models_start_without_heavy_libraries(tiny_models, clips):
    """Each of these libraries costs more to import than the rest of a prediction."""
    code = (
        "import sys, serlab\n"
        "model = serlab.load_model(sys.argv[1])\n"
        "print(model.predict(sys.argv[2], precision='bf16').label)\n"
        "print({'torch', 'transformers', 'scipy', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules) or 'light')\n"
    )
    line = [sys.executable, "-c", code, str(tiny_models["mfcc-svm"]), str(clips[0])]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.stdout == f"{load_model(tiny_models['mfcc-svm']).predict(clips[0]).label}\nlight\n", done.stderr


def test_what_is_known_of_a_model(tiny_models, tmp_path):
    model = load_model(tiny_models["tiny-resnet"])
    signature = json.loads((model.folder / "serlab.json").read_text())["signature"]
    info = model.info
    assert info.recipe == signature["recipe"]["name"]
    assert info.recipe_hash == signature["recipe"]["hash"]
    assert (info.corpus, info.protocol, info.fold, info.seed) == ("tiny", "speaker-2", 1, 0)
    assert (info.trained_in, info.serlab, info.sample_rate) == ("fp32", signature["serlab"], RATE)
    assert (info.labels, info.clips, info.speakers) == (model.labels, 18, 2)
    assert info.clip_seconds == pytest.approx(0.4)
    assert info.temperature == signature["training"]["reliance"]["temperature"]
    table = pd.read_parquet(model.folder.with_suffix(".parquet")).query("side == 'test'")
    scores = table.filter(like="logit_").to_numpy()
    right = np.array(model.labels)[scores.argmax(axis=1)] == table["label"]
    assert info.uar.value == pytest.approx(right.groupby(table["label"]).mean().mean())
    assert (info.uar.clips, info.uar.low, info.uar.own) == (len(table), None, True)
    assert "Acted speech is not spontaneous speech" in info.limits
    assert repr(model) == f"Model({str(model.folder)!r}, labels=calm, happy, sad, precision={model.precision})"
    plain = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], plain)
    (plain / "serlab.json").unlink()
    assert load_model(plain).info.recipe is None


def test_a_model_whose_origin_is_lost_still_predicts(tiny_models, tmp_path, clips):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["mfcc-svm"], folder)
    content = json.loads((folder / "serlab.json").read_text())
    del content["signature"]["protocol"]
    (folder / "serlab.json").write_text(json.dumps(content))
    model = load_model(folder)
    assert model.predict(clips[0]).label
    with pytest.raises(UserError, match=r"serlab\.json is incomplete"):
        _ = model.info
