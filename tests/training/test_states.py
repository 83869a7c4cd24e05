"""States of a teacher's encoder: the frames that a batch holds are those of its sections of clips."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz.materials import RECIPES

from serlab.approaches.encoder.network import SpeechEncoder, from_recipe
from serlab.approaches.network import score
from serlab.audio import Audio
from serlab.audio.augment import View
from serlab.core.files import sha256_file
from serlab.frontends.store import ClipFile, FeatureStore
from serlab.recipes import Augmentation, load_recipe
from serlab.training.batches import TrainingBatches
from serlab.training.projections import attach
from serlab.training.states import StateLesson, StateSource

pytestmark = pytest.mark.usefixtures("one_thread")
SLOW = View(speed=0.8)


@pytest.fixture
def network(tmp_path: Path) -> SpeechEncoder:
    """A tiny encoder of waveforms whose frames do not depend on the length of the sound."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPES["encoder"])
    recipe = load_recipe(str(path), ["model.config.feat_extract_norm=layer"])
    torch.manual_seed(0)
    return from_recipe(recipe.model, ("a", "b"), "fp32", recipe="tiny")


@pytest.fixture
def files(speech: Path) -> list[ClipFile]:
    paths = sorted(speech.glob("s*/*.wav"), key=lambda path: int(path.stem))
    return [ClipFile(path.stem, str(path), 0.5 + 0.05 * int(path.stem), sha256_file(path)) for path in paths]


@pytest.fixture
def lesson(network: SpeechEncoder, files: list[ClipFile], tmp_path: Path) -> StateLesson:
    """The input of the first layer of the very same encoder: convolutions, and positions over few frames."""
    folder = tmp_path / "teacher"
    network.save_weights(folder)
    source = StateSource.of(folder, "fp32", (0,), cached=False)
    return StateLesson((source,), (frozenset(file.clip for file in files),), 1.0, same_view=False)


@pytest.mark.parametrize("views", [(View(),), (SLOW, View(gain=0.5))])
def test_states_are_those_of_the_section_that_the_network_hears(network, files, lesson, views) -> None:
    feed = attach(network, lesson, files, views[0], seed=0, recipe="tiny")
    assert (feed.ratio, feed.shift) == (320, 0)
    batches = TrainingBatches(
        FeatureStore(network.frontend, cached=False), files, np.zeros((len(files), 2), np.float32),
        augmentation=Augmentation(views=views), batch_size=4, window=None, fill=0.0, max_seconds=0.4, seed=0,
        states=feed,
    )  # fmt: skip
    network.eval()
    starts = set()
    for batch in batches:
        with torch.no_grad():
            own = network.hidden_states(batch["features"])[0]
        states = batch["states"]
        count = min(own.shape[1], states.shape[1])
        assert count >= 18
        # The frames at both ends also see what was cut off.
        inside = slice(3, count - 3)
        torch.testing.assert_close(own[:, inside], states[:, inside], atol=0.03, rtol=0.03)
        starts |= {float(each) for each in batch["features"][:, 0]}
    assert len(starts) > len(files) // 2


def test_the_states_are_standardised(network, files, lesson) -> None:
    attach(network, lesson, files, View(), seed=0, recipe="tiny")
    states = np.concatenate([lesson.get(file, View(), 0) for file in files])
    matching = network.get_submodule("matching")
    np.testing.assert_allclose(matching.means[0].numpy(), states.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(matching.deviations[0].numpy(), states.std(axis=0), rtol=1e-3)


def test_projections_do_not_change_the_scores(network, files, lesson) -> None:
    features = [network.frontend(Audio.from_file(file.path).samples) for file in files[:3]]
    before = score(network, features, "bf16")
    attach(network, lesson, files, View(), seed=0, recipe="tiny")
    np.testing.assert_array_equal(before, score(network, features, "bf16"))


def test_the_projections_depend_on_the_seed_alone(network, files, lesson) -> None:
    def weight(seed: int) -> torch.Tensor:
        torch.rand(seed + 3)
        before = torch.random.get_rng_state()
        attach(network, lesson, files, View(), seed=seed, recipe="tiny")
        assert torch.equal(before, torch.random.get_rng_state())
        return network.get_submodule("matching.projections.0").weight.clone()

    assert torch.equal(weight(0), weight(0))
    assert not torch.equal(weight(0), weight(1))


def test_the_teacher_hears_the_clean_clip_at_the_speed_of_the_view(lesson) -> None:
    noisy = View(speed=0.9, noise=0.1)
    assert lesson.heard(noisy) == View(speed=0.9)
    assert StateLesson(lesson.sources, lesson.taught, 1.0, same_view=True).heard(noisy) == noisy


def test_a_lesson_goes_to_other_processes(lesson) -> None:
    assert pickle.loads(pickle.dumps(lesson)) == lesson
