"""ResNet18: transformers' own network, image weights, saving."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    BertConfig,
    BertModel,
    ResNetConfig,
    ResNetForImageClassification,
)

from serlab.approaches.resnet import Settings as ResNetModel
from serlab.approaches.resnet.network import ResNet, from_folder, moments
from serlab.core import UserError
from serlab.frontends.logmel import LogMelSettings

LABELS = ("angry", "sad")


def build(**settings) -> ResNet:
    torch.manual_seed(0)
    model = ResNetModel(logmel=LogMelSettings(bands=32), **settings)
    return ResNet(model, LABELS, torch.full((32,), -40.0), torch.full((32,), 15.0)).eval()


def test_the_standard_network_is_resnet18() -> None:
    image = ResNetForImageClassification(
        ResNetConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], embedding_size=64, layer_type="basic")
    )
    ours, theirs = (sum(p.numel() for p in m.resnet.parameters()) for m in (build().net, image))

    assert theirs == 11_176_512  # torchvision's resnet18 without its last layer
    assert theirs - ours == 2 * 64 * 49  # one input channel instead of three


def test_the_small_network_loads_without_transformers_and_gives_the_same_bits(tmp_path: Path) -> None:
    settings = ResNetModel(stem="small", pooling="mean+std", width=8, logmel=LogMelSettings(bands=32))
    torch.manual_seed(0)
    network = ResNet(settings, LABELS, torch.full((32,), -40.0), torch.full((32,), 15.0))
    assert type(network.net.encoder).__module__.startswith("transformers.")
    features = torch.randn(3, 60, 32) * 15 - 40
    network.train()(features)  # moves the statistics of batch normalisation
    network.eval().save_weights(tmp_path)

    loaded = from_folder(tmp_path, settings, LABELS).eval()

    assert type(loaded.net.encoder).__module__.startswith("serlab.")
    with torch.no_grad():
        assert torch.equal(loaded(features), network(features))
    (tmp_path / "again").mkdir()
    loaded.save_weights(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_small_resnet_starts_without_transformers(tmp_path: Path) -> None:
    settings = ResNetModel(stem="small", pooling="mean+std", width=4, logmel=LogMelSettings(bands=16))
    ResNet(settings, ("calm", "sad"), torch.zeros(16), torch.ones(16)).save_weights(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from serlab.approaches.resnet import Settings\n"
        "from serlab.approaches.resnet.network import from_folder\n"
        "from serlab.frontends.logmel import LogMelSettings\n"
        "logmel = LogMelSettings(bands=16)\n"
        "settings = Settings(stem='small', pooling='mean+std', width=4, logmel=logmel)\n"
        "import serlab.inference.files\n"
        "from_folder(Path(sys.argv[1]), settings, ('calm', 'sad'))\n"
        "print({'transformers', 'scipy', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules) or 'light')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "light\n", done.stderr


def test_saved_folder_loads_in_plain_transformers_with_equal_logits(tmp_path: Path) -> None:
    network = build()
    features = torch.randn(2, 60, 32) * 15 - 40
    with torch.no_grad():
        ours = network(features)

    network.save_weights(tmp_path)

    plain = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    pre = json.loads((tmp_path / "preprocessor_config.json").read_text())
    pixels = (features - torch.tensor(pre["mean_db"])) / torch.tensor(pre["std_db"])
    with torch.no_grad():
        theirs = plain(pixels.transpose(1, 2)[:, None]).logits
    torch.testing.assert_close(ours, theirs)


def test_image_weights_see_a_grey_image_as_the_image_network_does(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = ResNetConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], embedding_size=64, layer_type="basic")
    image = ResNetForImageClassification(config).eval()
    image.save_pretrained(tmp_path)
    network = build()

    network.load_image_weights(tmp_path)

    grey = torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        ours = network.net.resnet(grey).pooler_output
        theirs = image.resnet(grey.expand(1, 3, 32, 64)).pooler_output
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_other_image_weights_are_refused(tmp_path: Path) -> None:
    config = ResNetConfig(depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8, layer_type="basic")
    ResNetForImageClassification(config).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="is not a ResNet18"):
        build().load_image_weights(tmp_path / "other")
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="cannot be loaded as a ResNet18"):
        build().load_image_weights(tmp_path / "bert")


def test_statistics_of_a_constant_map_have_a_gradient() -> None:
    network = build(stem="small", pooling="mean+std").train()
    silent = torch.full((2, 40, 32), -100.0)

    network(silent).sum().backward()

    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("settings", [{"stem": "small"}, {"pooling": "mean+std"}, {"dropout": 0.1}])
def test_combinations_that_cannot_be_built_are_refused(settings: dict) -> None:
    with pytest.raises(UserError, match=r"model\."):
        ResNetModel(**settings)


def test_bands_that_never_change_do_not_divide_by_zero() -> None:
    network = ResNet(ResNetModel(logmel=LogMelSettings(bands=32)), LABELS, torch.zeros(32), torch.zeros(32)).eval()
    with torch.no_grad():
        assert np.isfinite(network(torch.zeros(1, 40, 32)).numpy()).all()


def test_moments_are_numpys_over_all_frames() -> None:
    random = np.random.default_rng(0)
    clips = [random.normal(-50, 20, (length, 4)).astype(np.float32) for length in (1, 300, 17, 2048)]
    mean, std = moments(clips)
    frames = np.concatenate(clips).astype(np.float64)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-13)
