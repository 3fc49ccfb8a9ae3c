"""What diffusion is given: exact Gaussians, densities, digits, the judge, the network for points, pictures."""

import gzip
import itertools
import math
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image

from katas.diffusion.given import judge as judge_module
from katas.diffusion.given.denoisers import PointDenoiser
from katas.diffusion.given.densities import DENSITIES
from katas.diffusion.given.gaussians import GaussianMixture
from katas.diffusion.given.judge import judge_of
from katas.lab.checks.plots import image_grid, point_clouds
from katas.lab.data import DataError, DataMissing
from katas.lab.digits import Digits, mnist, small_digits


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# --- the exact denoiser ---

MIXTURE = GaussianMixture([1, 3], [[1.0, -0.5], [-0.7, 0.2]], [[[0.3, 0.1], [0.1, 0.2]], [[0.05, 0.0], [0.0, 0.6]]])
LEVELS = torch.tensor([0.95, 0.6, 0.1], dtype=torch.float64)


def test_the_exact_noise_is_the_slope_of_the_log_density():
    x, t = torch.randn(5, 2, generator=rng(), dtype=torch.float64).requires_grad_(), torch.tensor([0, 1, 2, 1, 0])
    log_density = 0
    for row, level in zip(x, LEVELS[t], strict=True):
        parts = [
            torch.distributions.MultivariateNormal(level.sqrt() * m, level * c + (1 - level) * torch.eye(2).double())
            for m, c in zip(MIXTURE.means, MIXTURE.covariances, strict=True)
        ]
        logs = torch.stack([w.log() + part.log_prob(row) for w, part in zip(MIXTURE.weights, parts, strict=True)])
        log_density = log_density + logs.logsumexp(0)
    (slope,) = torch.autograd.grad(log_density, x)
    torch.testing.assert_close(MIXTURE.predict_noise(x, t, LEVELS), -(1 - LEVELS[t])[:, None].sqrt() * slope)


def test_no_linear_correction_makes_the_exact_noise_better():
    x_start, _ = MIXTURE.sample(40_000, rng(1))
    noise = torch.randn(x_start.shape, generator=rng(2), dtype=torch.float64)
    t = torch.ones(len(x_start)).long()
    x_t = LEVELS[1].sqrt() * x_start + (1 - LEVELS[1]).sqrt() * noise
    guess = MIXTURE.predict_noise(x_t, t, LEVELS)
    # of 8 covariances of about 1 / sqrt(n) = 0.005
    features = torch.cat((x_t, x_t**2 - (x_t**2).mean(dim=0)), dim=1)
    assert ((noise - guess).T @ features / len(x_t)).abs().max() < 0.03


def test_moments_and_components_of_the_mixture():
    x, components = MIXTURE.sample(40_000, rng())
    assert (x.mean(dim=0) - MIXTURE.mean()).abs().max() < 0.02
    assert (x.T.cov() - MIXTURE.covariance()).abs().max() < 0.03
    assert abs(components.double().mean() - 0.75) < 0.02
    first = x[components == 0]
    assert (first.mean(dim=0) - MIXTURE.component(0).mean()).abs().max() < 0.03


# --- densities and digits ---


@pytest.mark.parametrize("name", DENSITIES)
def test_points_follow_the_generator_alone(name):
    state = torch.get_rng_state()
    first, again, other = (DENSITIES[name](500, rng(seed)) for seed in (3, 3, 4))
    assert first.shape == (500, 2) and first.dtype == torch.float32
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
    assert 0.3 < float(first.std()) < 2 and float(first.mean().abs()) < 0.2, "about one unit wide, around 0"


def test_rings_and_checkerboard_have_empty_places():
    radius = DENSITIES["rings"](2000, rng()).norm(dim=1) / 0.8
    assert ((radius - 0.7).abs().minimum((radius - 1.6).abs()) < 0.4).all()
    board = DENSITIES["checkerboard"](2000, rng()) / 0.8
    fields = (board + 2).floor().long()
    assert ((fields.sum(dim=1) % 2) == 0).all() and len(fields.unique(dim=0)) == 8


def test_small_digits_are_split_for_good():
    train, test = small_digits("train"), small_digits("test")
    assert train.images.shape == (1348, 1, 8, 8) and test.images.shape == (449, 1, 8, 8)
    for digits in (train, test):
        assert digits.images.dtype == torch.float32 and digits.labels.dtype == torch.int64
        assert digits.images.min() == 0 and digits.images.max() == 1
        assert digits.labels.bincount().min() > 0.08 * len(digits.labels)
    with pytest.raises(ValueError, match="split"):
        small_digits("validation")


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()


@pytest.fixture
def mnist_files():
    """Of three digits: by file name, what it contains."""
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    return {"train-images-idx3-ubyte": idx(images), "train-labels-idx1-ubyte": idx(np.array([7, 0, 9], np.uint8))}


def written(folder, files) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_unpacked_or_packed(tmp_path, mnist_files, packed):
    files = {f"{name}.gz": gzip.compress(content) for name, content in mnist_files.items()} if packed else mnist_files
    written(tmp_path, files)
    images, labels = mnist(tmp_path, "train")
    assert images.shape == (3, 1, 28, 28) and images.dtype == torch.float32 and labels.tolist() == [7, 0, 9]
    assert images[2, 0, 1, 3] == torch.tensor((2 * 784 + 28 + 3) % 256 / 255), "rows, then columns, in [0, 1]"


def test_missing_mnist_says_what_to_do(tmp_path):
    with pytest.raises(DataMissing, match=r"MNIST is missing.*--data DIR.*--download"):
        mnist(tmp_path, "train")


@pytest.mark.parametrize("changes, told", [
    ({"train-images-idx3-ubyte": b"not these"}, "train-images-idx3-ubyte is no IDX file"),
    ({"train-images-idx3-ubyte": b""}, "train-images-idx3-ubyte is no IDX file"),
    ({"train-labels-idx1-ubyte": idx(np.array([7, 0, 9], np.uint8))[:-1]}, "train-labels.*cut off"),
    ({"train-labels-idx1-ubyte": idx(np.array([7, 0], np.uint8))}, "3 images with 2 labels"),
    ({"train-labels-idx1-ubyte": idx(np.array([7, 77, 9], np.uint8))}, "a label of 77"),
])  # fmt: skip
def test_damaged_mnist_says_what_is_wrong(tmp_path, mnist_files, changes, told):
    written(tmp_path, mnist_files | changes)
    with pytest.raises(DataError, match=f"incomplete or damaged: .*{told}.*--data DIR") as raised:
        mnist(tmp_path, "train")
    assert not isinstance(raised.value, DataMissing), "damaged data is no reason to skip"


@pytest.mark.parametrize("files", [{}, {"train-images-idx3-ubyte.gz": b"\x1f\x8bno"}])
def test_incomplete_mnist_names_the_folder(tmp_path, files):
    written(tmp_path, files)
    with pytest.raises(DataError, match=r"MNIST in .*raw is incomplete or damaged"):
        mnist(tmp_path, "train")


def test_mnist_that_cannot_be_fetched_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match="could not be fetched(?s:.*)Network is unreachable") as raised:
        mnist(tmp_path, "train", download=True)
    assert not isinstance(raised.value, DataMissing) and "--download" not in str(raised.value)


# --- the judge ---


def tiny() -> Digits:
    digits = small_digits("train")
    return Digits(digits.images[:64], digits.labels[:64])


def test_a_judge_is_trained_once(tmp_path, monkeypatch):
    file, state = tmp_path / "folder" / "judge.pt", torch.get_rng_state()
    first = judge_of(tiny(), file, steps=3)
    assert torch.equal(state, torch.get_rng_state()), "the global random numbers are left alone"
    monkeypatch.setattr(judge_module, "_train", None)  # would fail if it were called
    again, images = judge_of(tiny(), file, steps=3), tiny().images
    assert not again.training and torch.equal(first(images), again(images))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    mean, covariance = again.moments(images)
    assert mean.shape == (32,) and covariance.shape == (32, 32) and mean.dtype == torch.float64


@pytest.mark.parametrize("content", [b"", b"not a judge", b"PK\x03\x04 half a file"])
def test_a_damaged_judge_is_trained_again(tmp_path, content):
    file = tmp_path / "judge.pt"
    file.write_bytes(content)
    judge_of(tiny(), file, steps=2)
    assert torch.load(file, weights_only=True)["key"], "and kept"


def test_the_judge_of_other_images_is_not_taken(tmp_path):
    file = tmp_path / "judge.pt"
    judge_of(tiny(), file, steps=2)
    before = torch.load(file, weights_only=True)["key"]
    judge_of(Digits(tiny().images.flip(0), tiny().labels.flip(0)), file, steps=2)
    assert torch.load(file, weights_only=True)["key"] != before


def test_agreement_is_the_share_of_right_answers(tmp_path):
    judge, images = judge_of(tiny(), tmp_path / "judge.pt", steps=2), tiny().images
    answers = judge(images).argmax(dim=1)
    wrong = (answers[:16] + 1) % 10
    assert judge.agreement(images, torch.cat((wrong, answers[16:]))) == 0.75


def test_a_judge_looks_at_many_images_in_batches(tmp_path, monkeypatch):
    """60,000 images of 28 × 28 at once would take 12 GB of a card."""
    judge, images = judge_of(tiny(), tmp_path / "judge.pt", steps=2), tiny().images
    labels, (mean, covariance) = judge(images).argmax(dim=1), judge.moments(images)
    sizes = []
    judge.layers.register_forward_hook(lambda module, batches, answer: sizes.append(len(batches[0])))
    monkeypatch.setattr(judge_module, "BATCH_SIZE", 24)
    torch.testing.assert_close(judge.moments(images), (mean, covariance))
    assert judge.agreement(images, labels) == 1
    assert sizes == [24, 24, 16] * 2


# --- the network for points, and pictures ---


def test_the_network_for_points_is_told_the_time():
    torch.manual_seed(0)
    net, x = PointDenoiser(lambda t, dim: (t[:, None] / 100).expand(-1, dim)), torch.randn(3, 2, generator=rng())
    predictions = [net(x, torch.full((3,), t)) for t in (0, 1, 100, 199)]
    assert predictions[0].shape == (3, 2)
    for one, other in itertools.pairwise(predictions):
        assert not torch.equal(one, other)


def test_grids_and_clouds_are_drawn(tmp_path):
    grid = image_grid(tmp_path / "a" / "grid.png", torch.rand(7, 1, 8, 8, generator=rng()), columns=3)
    titled = image_grid(tmp_path / "titled.png", torch.zeros(2, 1, 8, 8), columns=2, titles=["one", "two"])
    clouds = {name: density(100, rng()) for name, density in DENSITIES.items()}
    for file in (grid, titled, point_clouds(tmp_path / "clouds.png", clouds)):
        with Image.open(file) as picture:
            assert math.prod(picture.size) > 1000 and picture.convert("L").getextrema()[0] < 255, "something is drawn"
