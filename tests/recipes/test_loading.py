from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.resnet import Settings as ResNetModel
from serlab.approaches.svm import Settings as SvmModel
from serlab.core import UserError
from serlab.recipes import Training, identify, load_recipe, load_variant, preset_names, recipe_from_signature
from serlab.recipes.changes import Change

PRESETS = (
    "egemaps-svm", "hubert-base", "mfcc-svm", "resnet18", "resnet18-imagenet", "resnet18-small", "seed-resnet18",
    "seed-wav2vec2", "wav2vec2-base", "wav2vec2-bert", "wav2vec2-tiny", "wavlm-base-plus", "whisper-base",
    "whisper-base-probe", "whisper-base-long", "resnet18-long", "resnet18-distilled", "resnet18-small-distilled",
    "wav2vec2-small", "wav2vec2-small-distilled", "wav2vec2-small-distilled-long",
    "wav2vec2-small-scratch", "resnet18-small-long",
)  # fmt: skip


def refused(*overrides: str, recipe: str = "resnet18") -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(recipe, overrides)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_the_promised_presets_are_shipped():
    assert set(PRESETS) <= set(preset_names())


@pytest.mark.parametrize("name", PRESETS)
def test_preset_loads_and_survives_a_model_folder(name):
    recipe = load_recipe(name)
    assert recipe.preset
    assert recipe.title
    assert recipe.folder(recipe.hash(None)) == name
    stored = {"recipe": {"name": name, "title": recipe.title, "config": recipe.settings()}}
    assert recipe_from_signature(json.loads(json.dumps(stored))) == dataclasses.replace(recipe, preset=False)


def test_presets_differ_from_each_other():
    hashes = [load_recipe(name).hash(load_recipe(name).title) for name in PRESETS]
    assert len(set(hashes)) == len(PRESETS)


def test_pretrained_presets_name_the_published_checkpoints():
    checkpoints = {name: getattr(load_recipe(name).model, "checkpoint", "") for name in PRESETS}
    assert checkpoints["wav2vec2-base"] == checkpoints["seed-wav2vec2"] == "facebook/wav2vec2-base"
    assert checkpoints["hubert-base"] == "facebook/hubert-base-ls960"
    assert checkpoints["wavlm-base-plus"] == "microsoft/wavlm-base-plus"
    assert checkpoints["wav2vec2-bert"] == "facebook/w2v-bert-2.0"
    assert checkpoints["whisper-base"] == checkpoints["whisper-base-probe"] == "openai/whisper-base"
    assert checkpoints["resnet18-imagenet"] == "microsoft/resnet-18"
    for scratch in ("wav2vec2-tiny", "resnet18", "resnet18-small"):
        assert checkpoints[scratch] == ""
        assert "scratch" in load_recipe(scratch).title


def test_the_seeds_own_settings():
    wav2vec2, resnet = load_recipe("seed-wav2vec2"), load_recipe("seed-resnet18")
    assert wav2vec2.training.epochs == 8
    assert wav2vec2.training.learning_rate == pytest.approx(1.2565e-5)
    assert wav2vec2.training.weight_decay == pytest.approx(0.04)
    assert wav2vec2.training.batch_size == 16
    assert not wav2vec2.model.freeze_conv
    assert wav2vec2.augmentation.use == "all"
    assert [(v.noise, v.pitch) for v in wav2vec2.augmentation.views] == [(0, 0), (0.005, 0), (0, 2)]
    assert isinstance(resnet.model, ResNetModel)
    assert (resnet.model.window, resnet.model.logmel.bands) == (256, 128)
    assert (resnet.training.epochs, resnet.training.batch_size) == (10, 128)
    assert (resnet.training.schedule, resnet.training.schedule_factor) == ("step", 0.85)
    views = resnet.augmentation.views
    assert {v.noise for v in views} >= {0.01}
    assert {v.gain for v in views} >= {5.0}
    assert {v.time_mask for v in views} >= {2000}


def test_a_setting_makes_it_another_recipe_with_a_folder_of_its_own():
    plain, changed = load_recipe("resnet18"), load_recipe("resnet18", ["training.epochs=3"])
    assert changed.training.epochs == 3
    assert not changed.preset
    name = changed.hash(None)
    assert name != plain.hash(None)
    assert changed.folder(name) == f"resnet18-{name[:6]}"
    same = load_recipe("resnet18", ["training.epochs=3"])
    assert same.hash(None) == name


def test_a_precision_is_a_setting():
    assert load_recipe("resnet18", precision="fp32") == load_recipe("resnet18", ["training.precision=fp32"])
    assert not load_recipe("resnet18", precision="auto").preset


def test_the_hash_knows_the_weights_and_not_where_they_lie():
    here = load_recipe("wav2vec2-base", ["model.checkpoint=/here/wav2vec2"])
    there = load_recipe("wav2vec2-base", ["model.checkpoint=/there/w2v"])
    assert here.hash("a" * 64) == there.hash("a" * 64) != here.hash("b" * 64)


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("0.0001", 1e-4), ("2", 2.0), ("1.0e-3", 1e-3)])
def test_numbers_as_people_write_them(text, value):
    assert load_recipe("resnet18", [f"training.learning_rate={text}"]).training.learning_rate == value


def test_sections_and_lists_can_be_given_whole():
    recipe = load_recipe("resnet18", ["augmentation.views=[{speed: 0.9}, {noise: 0.01}]", "augmentation.use=all"])
    assert [view.speed for view in recipe.augmentation.views] == [0.9, 1.0]
    recipe = load_recipe("resnet18", ["model={kind: svm, features: egemaps}"])
    assert recipe.model == SvmModel(features="egemaps")


def test_later_settings_win():
    assert load_recipe("resnet18", ["training.epochs=3", "training.epochs=4"]).training.epochs == 4


@pytest.mark.parametrize(
    ("change", "phrases"),
    [
        ("training.epoch=3", ["'epoch'", "did you mean 'epochs'?"]),
        ("model.logmel.band=3", ["'band'", "did you mean 'bands'?"]),
        ("trainings.epochs=3", ["'trainings'", "did you mean 'training'?"]),
        ("name=other", ["'name'"]),
        ("preset=true", ["'preset'"]),
        ("training.epochs=3.5", ["epochs", "3.5", "int"]),
        ("training.epochs=yes", ["epochs", "True"]),
        ("training.epochs=-1", ["training.epochs", "-1", "at least 1"]),
        ("training.learning_rate=fast", ["learning_rate", "'fast'", "number"]),
        ("training.learning_rate=0", ["training.learning_rate", "above 0"]),
        ("training.learning_rate=.nan", ["learning_rate", "finite"]),
        ("training.learning_rate=inf", ["learning_rate", "finite"]),
        ("training.warmup=1", ["training.warmup", "below 1"]),
        ("training.weight_decay=-1", ["training.weight_decay"]),
        ("training.schedule=sine", ["schedule", "'sine'", "cosine"]),
        ("training.epochs", ["section.key=value"]),
        ("=3", ["section.key=value"]),
        ("training..epochs=3", ["section.key=value"]),
        ("training.epochs={3", ["YAML"]),
        ("title.short=x", ["title"]),
        ("training=3", ["training", "section"]),
        ("augmentation.views=3", ["views", "list"]),
        ("augmentation.views=[{speed: 9}]", ["speed"]),
        ("augmentation.mixup=-0.1", ["augmentation.mixup"]),
        ("model.kind=resnet19", ["'resnet19'", "did you mean 'resnet'?"]),
        ("model.pooling=mean+std", ["model.pooling", "model.stem"]),
        ("model.dropout=0.1", ["model.dropout", "mean+std"]),
        ("model.window=1", ["model.window"]),
        ("model.width=0", ["model.width"]),
        ("model.logmel.n_fft=0", ["model.logmel.n_fft"]),
        ("model.logmel.high=9000", ["model.logmel", "8000"]),
    ],
)
def test_what_does_not_fit_is_refused(change, phrases):
    message = refused(change)
    for phrase in phrases:
        assert phrase in message


@pytest.mark.parametrize(
    ("recipe", "change", "phrase"),
    [
        ("wav2vec2-tiny", "model.checkpoint=facebook/wav2vec2-base", "not both"),
        ("wav2vec2-tiny", "model.architecture=''", "needs either"),
        ("wav2vec2-tiny", "model.config.num_labels=9", "model.config.num_labels"),
        ("wav2vec2-tiny", "model.head.dropout=0.1", "model.head.kind: pooled"),
        ("wav2vec2-tiny", "model.head.projection=0", "model.head.projection"),
        ("wav2vec2-tiny", "model.freeze_layers=-1", "model.freeze_layers"),
        ("whisper-base-probe", "model.checkpoint=''", "model.checkpoint"),
        ("whisper-base-probe", "model.C=[]", "model.C"),
        ("whisper-base-probe", "model.C=[0.0]", "above 0"),
    ],
)
def test_what_does_not_fit_the_other_models(recipe, change, phrase):
    assert phrase in refused(change, recipe=recipe)


def test_a_recipe_of_the_user(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\nmodel: {kind: encoder, architecture: hubert, config: {hidden_size: 16}}\n")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.title, recipe.preset) == ("mine", "Mine", False)
    assert recipe.model == EncoderModel(architecture="hubert", config={"hidden_size": 16})


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("title: [", "YAML"),
        ("- a\n- b\n", "recipe"),
        ("title: Mine\n", "model"),
        ("model: {kind: svm}\n", "title"),
        ("title: Mine\nmodel: resnet\n", "kind"),
        ("title: Mine\nmodel: {kind: svm}\nname: ../../elsewhere\n", "'name'"),
        ("title: Mine\nmodel: {kind: svm}\ntraining: 3\n", "training"),
        ("title: !!python/object/apply:os.getcwd []\nmodel: {kind: svm}\n", "YAML"),
    ],
)
def test_a_file_that_is_not_a_recipe(tmp_path, text, phrase):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    message = refused(recipe=str(path))
    assert phrase in message
    assert "mine" in message


def test_what_is_named_like_a_file_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("title: Mine\nmodel: {kind: svm}\n")
    (tmp_path / "mine.txt").write_text("")
    (tmp_path / "folder").mkdir()
    assert refused(recipe="mine.yalm") == "there is no recipe mine.yalm; the nearest name there is mine.yaml."
    assert refused(recipe="./fold") == (
        "there is no recipe (a YAML file) or model folder ./fold; the nearest name there is folder."
    )
    assert "nor the folder recipes/of" in refused(recipe="recipes/of/mine.yaml")
    assert "ends in .yaml" in refused(recipe="mine.txt")
    for checkpoint in ("folder", "facebook/wav2vec2-large"):
        assert f"model.checkpoint={checkpoint}" in refused(recipe=checkpoint)
    assert load_recipe("./mine.yaml").title == "Mine"


def test_a_file_that_cannot_be_read(tmp_path):
    assert "absent.yaml" in refused(recipe=str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "binary.yaml" in refused(recipe=str(tmp_path / "binary.yaml"))


@pytest.mark.parametrize("value", [10**10, -(10**400), "[1]", "{a: b}", "2001-01-01", "!!set {a}", "[" * 200])
def test_odd_values_are_refused(value):
    for key in ("training.epochs", "training.learning_rate", "training.select", "model.kind", "model.logmel.n_fft"):
        assert key.rpartition(".")[2] in refused(f"{key}={value}")


@given(st.text(max_size=30))
def test_any_setting_gives_a_recipe_or_a_sentence(text):
    for change in (text, f"training.epochs={text}", f"model.{text}", f"augmentation.views={text}"):
        try:
            load_recipe("resnet18-small", [change])
        except UserError as error:
            message = str(error)
        else:
            continue
        assert message.endswith(".")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet18", "e9d8ed59"), ("wav2vec2-tiny", "5a10f727"), ("resnet18-small", "8ddc738b")],
)
def test_published_results_keep_their_identity_when_settings_are_added(name, expected):
    assert load_recipe(name).hash(None).startswith(expected)


def test_an_added_setting_counts_once_it_is_changed():
    plain = load_recipe("wav2vec2-tiny")
    assert load_recipe("wav2vec2-tiny", ["training.features=fp32"]).hash(None) == plain.hash(None)
    assert load_recipe("wav2vec2-tiny", ["training.features=bf16"]).hash(None) != plain.hash(None)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resnet18", "training.epochs=15"),
        ("resnet18", "training.precision=fp32"),
        ("resnet18", "training.learning_rate=1e-3"),
        ("resnet18", "training.targets=hard"),
        ("resnet18", "model.logmel.bands=80"),
        ("resnet18", "model.logmel={bands: 80}"),
        ("resnet18", "augmentation.views=[{speed: 0.9}, {}, {speed: 1.1}]"),
        ("wav2vec2-tiny", "model.config.mask_time_prob=0"),
        ("wav2vec2-tiny", "model.head.kind=transformers"),
        ("mfcc-svm", "model.features=mfcc"),
        ("mfcc-svm", "model.C=[0.25, 1, 4, 16]"),
    ],
)
def test_a_value_that_is_the_presets_makes_no_variant(name, change):
    plain, changed = load_recipe(name), load_recipe(name, [change])
    assert changed == plain
    assert changed.preset
    assert changed.hash("a") == plain.hash("a")


@pytest.mark.parametrize(
    ("name", "change", "phrase"),
    [
        ("mfcc-svm", "training.epochs=3", "training.epochs is for networks; mfcc-svm is a support vector machine."),
        ("mfcc-svm", "training={epochs: 3}", "training.epochs is for networks"),
        ("mfcc-svm", "augmentation.mixup=0.2", "augmentation.mixup is for networks"),
        ("mfcc-svm", "model.window=3", "model.window is for resnets"),
        ("mfcc-svm", "training.precision=fp32", "training.precision is for speech encoders, probes and resnets"),
        ("whisper-base-probe", "training.epochs=3", "training.epochs is for networks; whisper-base-probe is a probe."),
        ("resnet18", "model.head.kind=pooled", "model.head is for speech encoders; resnet18 is a resnet."),
        ("resnet18", "training.head_learning_rate=0.1", "training.head_learning_rate is for speech encoders"),
        ("resnet18", "training.batch_seconds=20", "training.batch_seconds is for speech encoders"),
        ("wav2vec2-tiny", "model.width=8", "model.width is for resnets"),
        ("wav2vec2-tiny", "model.gamma=[1.0]", "model.gamma is for support vector machines"),
    ],
)
def test_what_a_recipe_does_not_use_is_refused_or_left_out(name, change, phrase, capsys):
    assert phrase in refused(change, recipe=name)
    assert load_variant(name, [Change(change, shared=True)]) == load_recipe(name)
    said = capsys.readouterr().err
    assert f"{change} is left out for {name}: {phrase.rstrip('.')}" in said


def test_of_a_whole_section_used_settings_stay(capsys):
    change = "training={epochs: 3, precision: fp32}"
    recipe = load_variant("whisper-base-probe", [Change(change, shared=True)])
    assert recipe == load_recipe("whisper-base-probe", ["training.precision=fp32"])
    assert "training.epochs is for networks" in capsys.readouterr().err


def test_what_no_model_knows_is_an_error_and_not_left_out():
    for change in ("training.epoch=3", "model.windo=3", "trainings.epochs=3"):
        with pytest.raises(UserError, match="unknown"):
            load_variant("mfcc-svm", [Change(change, shared=True)])


def test_the_kind_that_is_set_decides_what_is_used():
    whole = "model={kind: svm, features: egemaps}"
    assert load_recipe("resnet18", [whole]).hash(None) == load_recipe("egemaps-svm").hash(None)
    with pytest.raises(UserError, match=r"training\.epochs is for networks"):
        load_recipe("resnet18", ["training.epochs=3", whole])


@pytest.mark.parametrize(
    ("name", "change", "meant"),
    [
        ("resnet18", "epochs=3", "training.epochs=3"),
        ("resnet18", "Epoch=3", "training.epochs=3"),
        ("resnet18", "bands=64", "model.logmel.bands=64"),
        ("resnet18", "dropout=0.1", "model.dropout=0.1"),
        ("whisper-base", "dropout=0.1", "model.head.dropout=0.1"),
        ("whisper-base", "head.dropout=0.1", "model.head.dropout=0.1"),
        ("mfcc-svm", "C=[1.0]", "model.C=[1.0]"),
        ("mfcc-svm", "epochs=3", "training.epochs=3"),
    ],
)
def test_a_setting_without_its_section(name, change, meant):
    assert f"{change} has no section; write {meant}." in refused(change, recipe=name)


def test_a_file_that_sets_what_its_model_does_not_use(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\nmodel: {kind: svm}\ntraining: {epochs: 3, patience: 0}\n")
    assert load_recipe(str(path)).hash(None) == load_recipe("mfcc-svm").hash(None)
    said = capsys.readouterr().err
    assert "training.epochs of recipe mine is left out: training.epochs is for networks" in said
    assert "patience" not in said
    with pytest.raises(UserError, match=r"training\.epochs is for networks"):
        dataclasses.replace(load_recipe("mfcc-svm"), training=Training(epochs=3))


def test_numbers_of_a_mapping_as_people_write_them():
    assert load_recipe("wav2vec2-tiny", ["model.config.layerdrop=5e-2"]).model.config["layerdrop"] == 0.05


def test_a_resnet_has_no_batches_by_seconds():
    with pytest.raises(UserError, match="batch_seconds"):
        load_recipe("resnet18", ["training.batch_seconds=20"])


@pytest.mark.parametrize(
    ("name", "folder"), [("mfcc-svm-1", "mfcc-svm-15cb1a"), ("egemaps-svm-1", "egemaps-svm-2ec344")]
)
def test_the_first_support_vector_machines_keep_their_identity_and_folder(name, folder):
    recipe, now = load_recipe(name), load_recipe(name.removesuffix("-1"))
    identity = identify(recipe)[0]
    assert recipe.folder(identity) == folder
    assert recipe.title.endswith(", first version")
    assert now.folder(identify(now)[0]) == name.removesuffix("-1")
    assert identify(now)[0] != identity
    assert identify(load_recipe(now.name, ["model.calibration=regression"]))[0] == identity


def test_a_signature_without_a_later_setting_means_what_was_done_then():
    signature = {"recipe": {"name": "mfcc-svm", "title": "SVM", "config": {"model": {"kind": "svm"}}}}
    assert recipe_from_signature(signature).model == SvmModel(calibration="regression")
    assert load_recipe("mfcc-svm").model == SvmModel()


def test_the_grids_of_a_support_vector_machine_are_settings():
    wider = load_recipe("mfcc-svm", ["model.C=[1, 8]", "model.gamma=[0.01]"])
    assert (wider.model.C, wider.model.gamma) == ((1.0, 8.0), (0.01,))
    assert identify(wider)[0] != identify(load_recipe("mfcc-svm"))[0]
    with pytest.raises(UserError, match=r"model.gamma is \[-1.0\]; it must list numbers above 0"):
        load_recipe("mfcc-svm", ["model.gamma=[-1]"])


@pytest.mark.parametrize(
    ("name", "change", "needs"),
    [
        ("resnet18", "training.schedule_factor=0.5", "training.schedule=step"),
        ("wav2vec2-tiny", "augmentation.time_width=20", "augmentation.time_masks"),
        ("wav2vec2-tiny", "augmentation.band_masks=2", "augmentation.band_width"),
        ("wav2vec2-base", "augmentation.use=all", "several augmentation.views"),
    ],
)
def test_what_does_nothing_alone_makes_no_variant(name, change, needs, capsys):
    assert f"does nothing in {name} without {needs}." in refused(change, recipe=name)
    assert load_variant(name, [Change(change, shared=True)]) == load_recipe(name)
    assert f"{change} is left out for {name}" in capsys.readouterr().err


def test_what_does_nothing_alone_counts_beside_what_it_needs():
    changed = load_recipe("resnet18", ["training.schedule_factor=0.5", "training.schedule=step"])
    assert (changed.training.schedule_factor, changed.preset) == (0.5, False)
