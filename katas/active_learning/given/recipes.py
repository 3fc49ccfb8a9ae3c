"""The recipes of the checks: two pools, how a model is trained on what is labelled, and the strategies."""

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from katas.active_learning.bald import mutual_information
from katas.active_learning.batch_bald import batch_bald
from katas.active_learning.calibration import expected_calibration_error, fit_temperature
from katas.active_learning.detection_scores import detection_entropy, max_per_image, mean_per_image, sum_per_image
from katas.active_learning.diversity import badge_embeddings, k_center_greedy, kmeans_plus_plus
from katas.active_learning.given import detector
from katas.active_learning.given.comparison import Task
from katas.active_learning.given.frames import frames
from katas.active_learning.loop import top_scores
from katas.active_learning.pool import stratified_seed
from katas.active_learning.uncertainty import entropy, margin
from katas.lab.digits import NUM_CLASSES, Digits, small_digits


def at_random(model, labelled: Tensor, unlabelled: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(unlabelled), generator=generator, device=generator.device)[:count]


# --- digits -----------------------------------------------------------------------------------------------------------

DIGIT_SEEDS = range(8)
DIGITS_PER_CLASS, DIGIT_BATCH, DIGIT_BUDGET = 2, 20, 240
DIGIT_STEPS, DIGIT_BATCH_SIZE = 300, 32
MEMBERS = 20  # passes with dropout


class SmallCNN(nn.Module):
    """Images (N, 1, 8, 8) → logits (N, 10); `features` gives what the last layer sees, (N, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.25), nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.5),
        )  # fmt: skip
        self.last = nn.Linear(64, NUM_CLASSES)

    def features(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.features(images))


def fitted_classifier(images: Tensor, labels: Tensor, seed: int, *, steps: int | None = None) -> SmallCNN:
    """Trained from scratch for as many steps whatever the number of labels."""
    torch.manual_seed(seed)
    model = SmallCNN().to(images.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(DIGIT_STEPS if steps is None else steps):
        chosen = torch.randint(len(images), (DIGIT_BATCH_SIZE,), generator=generator).to(images.device)
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def log_probs(model: SmallCNN, images: Tensor) -> Tensor:
    return F.log_softmax(model(images), dim=-1)


@torch.no_grad()
def log_probs_of_members(model: SmallCNN, images: Tensor, seed: int) -> Tensor:
    """(N, MEMBERS, C): as many passes with dropout left on."""
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed)
        model.train()
        passes = [log_probs(model, images) for _ in range(MEMBERS)]
        model.eval()
    return torch.stack(passes, dim=1)


@cache
def digits(device) -> tuple[Digits, Digits]:
    """What can be bought, and what the models are judged by."""
    return tuple(Digits(*(part.to(device) for part in small_digits(split))) for split in ("train", "test"))


@torch.no_grad()
def features(model: SmallCNN, images: Tensor) -> Tensor:
    return model.features(images)


def accuracy(model: SmallCNN, data: Digits) -> float:
    return float((log_probs(model, data.images).argmax(dim=1) == data.labels).float().mean())


def start_of(seed: int, device, per_class: int = DIGITS_PER_CLASS) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    labels = digits(device)[0].labels.cpu()
    return stratified_seed(labels, per_class, num_classes=NUM_CLASSES, generator=generator)


def digits_task(device) -> Task:
    pool, test = digits(device)
    images = pool.images

    def by_score(score):
        return lambda model, labelled, unlabelled, count, generator: top_scores(
            score(model, images[unlabelled], generator), count
        )

    def of_members(model, some, generator):
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        return mutual_information(log_probs_of_members(model, some, seed))

    def k_center(model, labelled, unlabelled, count, generator):
        return k_center_greedy(features(model, images[unlabelled]), features(model, images[labelled]), count)

    def badge(model, labelled, unlabelled, count, generator):
        some = images[unlabelled]
        return kmeans_plus_plus(
            badge_embeddings(log_probs(model, some), features(model, some)), count, generator=generator
        )

    return Task(
        name="digits", labels=pool.labels.tolist(), initial=lambda seed: start_of(seed, device),
        fit=lambda labelled, labels, seed: fitted_classifier(
            images[labelled], torch.tensor(labels, device=images.device), seed
        ),
        evaluate=lambda model: accuracy(model, test),
        strategies={
            "random": at_random,
            "entropy": by_score(lambda model, some, generator: entropy(log_probs(model, some))),
            "margin": by_score(lambda model, some, generator: margin(log_probs(model, some))),
            "mutual information": by_score(of_members), "k-center": k_center, "BADGE": badge,
        },
        batch_size=DIGIT_BATCH, budget=DIGIT_BUDGET, device=torch.device(device),
    )  # fmt: skip


# --- frames -----------------------------------------------------------------------------------------------------------

FRAME_SEEDS = range(5)
POOL_DRIVES, TEST_DRIVES = 80, 16
FIRST_FRAMES, FRAME_BATCH, FRAME_BUDGET = 20, 28, 160
CANDIDATES = 4  # times as many as are bought, from which the diverse ones are taken


@cache
def pool_and_test(device):
    """The frames that can be labelled, and those that the detectors are judged by."""
    parts = frames(POOL_DRIVES, kind="pool"), frames(TEST_DRIVES, kind="test")
    return tuple(
        part._replace(
            images=part.images.to(device), boxes=[boxes.to(device) for boxes in part.boxes],
            labels=[labels.to(device) for labels in part.labels],
        ) for part in parts
    )  # fmt: skip


def frames_task(device) -> Task:
    pool, test = pool_and_test(device)
    images = pool.images

    def uncertainty(model, some, per_image):
        return per_image([detection_entropy(found.scores) for found in detector.detections(model, some)])

    def by_uncertainty(per_image):
        return lambda model, labelled, unlabelled, count, generator: top_scores(
            uncertainty(model, images[unlabelled], per_image), count
        )

    def uncertain_and_diverse(model, labelled, unlabelled, count, generator):
        scores = uncertainty(model, images[unlabelled], sum_per_image)
        candidates = top_scores(scores, min(CANDIDATES * count, len(unlabelled)))
        of_candidates = detector.features(model, images[unlabelled.to(candidates.device)[candidates]])
        return candidates[k_center_greedy(of_candidates, detector.features(model, images[labelled]), count)]

    def initial(seed):
        return torch.randperm(len(images), generator=torch.Generator().manual_seed(1000 + seed))[:FIRST_FRAMES]

    return Task(
        name="frames", labels=list(zip(pool.boxes, pool.labels, strict=True)), initial=initial,
        fit=lambda labelled, labels, seed: detector.fitted_detector(images[labelled], labels, seed),
        evaluate=lambda model: detector.average_precision(model, test),
        strategies={
            "random": at_random, "sum": by_uncertainty(sum_per_image), "max": by_uncertainty(max_per_image),
            "mean": by_uncertainty(mean_per_image), "sum, then k-center": uncertain_and_diverse,
        },
        batch_size=FRAME_BATCH, budget=FRAME_BUDGET, device=torch.device(device),
    )  # fmt: skip


# --- dynamics ---------------------------------------------------------------------------------------------------------

ORIGINALS, COPIES, LARGE_BATCH = 150, 8, 20
CONFIGURATIONS = 2000


def bought_among_copies(seed: int, device) -> dict[str, tuple[int, float]]:
    """By strategy: how many different digits are in a large batch from a pool of copies, and the accuracy with it.

    The pool has COPIES of each of ORIGINALS digits, with a little noise, as neighbouring frames are.
    """
    (pool, test), start = digits(device), start_of(seed, device)
    free = torch.ones(len(pool.labels), dtype=torch.bool)
    free[start] = False
    generator = torch.Generator().manual_seed(seed)
    originals = free.nonzero()[:, 0][torch.randperm(int(free.sum()), generator=generator)[:ORIGINALS]]
    of = originals.repeat_interleave(COPIES)
    images = pool.images[of] + 0.02 * torch.randn(len(of), 1, 8, 8, generator=generator).to(device)
    model = fitted_classifier(pool.images[start], pool.labels[start], seed)
    members, single = log_probs_of_members(model, images, seed), log_probs(model, images)
    draws = torch.Generator(device).manual_seed(seed)
    embeddings = badge_embeddings(single, features(model, images))
    batches = {
        "random": at_random(model, start, of, LARGE_BATCH, draws),
        "margin": top_scores(margin(single), LARGE_BATCH),
        "mutual information": top_scores(mutual_information(members), LARGE_BATCH),
        "BatchBALD": batch_bald(members, LARGE_BATCH, max_configurations=CONFIGURATIONS, generator=draws).indices,
        "k-center": k_center_greedy(features(model, images), features(model, pool.images[start]), LARGE_BATCH),
        "BADGE": kmeans_plus_plus(embeddings, LARGE_BATCH, generator=draws),
    }
    found = {}
    for name, batch in batches.items():
        different = of[batch.cpu()].unique()
        known = (torch.cat([pool.images[start], images[batch]]), pool.labels[torch.cat([start, of[batch.cpu()]])])
        found[name] = len(different), accuracy(fitted_classifier(*known, seed), test)
    return found


def after_one_batch(seed: int, device, known: int, bought: int) -> dict[str, float]:
    """By strategy: the accuracy after one batch, for a model that starts from `known` random labels."""
    pool, test = digits(device)
    generator = torch.Generator().manual_seed(1000 + seed)
    order = torch.randperm(len(pool.labels), generator=generator)
    start, rest = order[:known], order[known:].sort().values
    model = fitted_classifier(pool.images[start], pool.labels[start], seed)
    single = log_probs(model, pool.images[rest])
    pixels = pool.images.flatten(1)
    batches = {
        "nothing": torch.empty(0, dtype=torch.int64), "random": torch.randperm(len(rest), generator=generator)[:bought],
        "margin": top_scores(margin(single), bought), "entropy": top_scores(entropy(single), bought),
        "k-center on pixels": k_center_greedy(pixels[rest], pixels[start], bought),
    }  # fmt: skip
    every = {name: torch.cat([start, rest[batch.cpu()]]) for name, batch in batches.items()}
    return {
        name: accuracy(fitted_classifier(pool.images[some], pool.labels[some], seed), test)
        for name, some in every.items()
    }


class Calibration(NamedTuple):
    """Calibration errors before and after, the temperature, and how much of what is bought stays the same."""

    before: float
    after: float
    temperature: float
    same_margin: float  # of what margin buys at T = 1/4 and at T = 4
    same_entropy: float


def calibrated(seed: int, device, *, per_class: int = 6, bought: int = 100) -> Calibration:
    pool, test = digits(device)
    start = start_of(seed, device, per_class)
    model = fitted_classifier(pool.images[start], pool.labels[start], seed)
    with torch.no_grad():
        logits, of_pool = model(test.images), model(pool.images)
    half = torch.arange(len(test.labels)) % 2 == 0
    temperature = fit_temperature(logits[half], test.labels[half])
    judged, labels = logits[~half], test.labels[~half]
    before, after = (
        float(expected_calibration_error(F.log_softmax(judged / t, dim=1), labels)) for t in (1.0, temperature)
    )

    def same(score) -> float:
        cold, hot = (top_scores(score(F.log_softmax(of_pool / t, dim=1)), bought).tolist() for t in (0.25, 4.0))
        return len(set(cold) & set(hot)) / bought

    return Calibration(before, after, float(temperature), same(margin), same(entropy))
