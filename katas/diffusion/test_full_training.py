"""Full checks: your diffusion models, trained end to end within five minutes of a GTX 1060 each.
`pytest katas/diffusion -m gpu`

Points and scikit-learn's digits need no data. MNIST needs `--data DIR` (or `--download`). Pictures, metrics and a
checkpoint are left under runs/diffusion/; stop a check with Ctrl-C, and what it has so far stays there.
"""

import pytest
import torch

from katas.diffusion.ddim import ddim_sample_loop, ddim_timesteps
from katas.diffusion.ddpm import p_sample_loop
from katas.diffusion.ema import EMA
from katas.diffusion.given.denoisers import PointDenoiser
from katas.diffusion.given.densities import DENSITIES
from katas.diffusion.given.digits import NUM_CLASSES, Digits, mnist, small_digits
from katas.diffusion.given.judge import judge_of
from katas.diffusion.guidance import guided_noise
from katas.diffusion.objective import v_target
from katas.diffusion.parametrization import noise_from_v
from katas.diffusion.sample_metrics import energy_distance, frechet_distance
from katas.diffusion.schedules import alphas_cumprod, cosine_beta_schedule
from katas.diffusion.time_embedding import timestep_embedding
from katas.diffusion.training import save_checkpoint, to_image_range, to_model_range, train_diffusion
from katas.diffusion.unet import UNet
from katas.lab.checks.budget import flops_of
from katas.lab.checks.plots import image_grid, learning_curves, point_clouds
from katas.lab.data import DataMissing

pytestmark = pytest.mark.gpu

SEEDS = (0, 1, 2)
ROW_EVERY = 50  # steps


class Recorder:
    """A callback for `train_diffusion`: progress bar, a row of metrics now and then, a checkpoint, the loss curve."""

    def __init__(self, run_dir, metrics, bar, **parts):
        self.run_dir, self.metrics, self.bar, self.parts = run_dir, metrics, bar, parts
        self.losses, self.rows = [], []

    def __call__(self, report):
        self.losses.append(report.loss)
        self.bar.update(1)
        if (report.step + 1) % ROW_EVERY == 0:
            loss = sum(self.losses) / len(self.losses)
            self.losses.clear()
            self.rows.append((report.step + 1, loss))
            self.bar.set_postfix_str(f"loss {loss:.3f}")
            self.metrics.row(step=report.step + 1, loss=loss, name="", value="")
        if (report.step + 1) % 500 == 0:
            save_checkpoint(self.run_dir / "checkpoint.pt", step=report.step + 1, **self.parts)

    def found(self, **values):
        for name, value in values.items():
            self.metrics.row(step="end", loss="", name=name, value=value)


def training_flops(model, batch_size: int, *arguments) -> float:
    """Of one step: forward and backward."""

    def step():
        model(*(argument[:batch_size] for argument in arguments)).square().mean().backward()

    flops = flops_of(step)
    model.zero_grad()
    return flops


# --- points ---

POINT_TIMESTEPS, POINT_STEPS, POINT_BATCH_SIZE = 200, 3000, 512
NUM_POINTS = 2000


def mean_energy_distance(first, second, pairs: int) -> float:
    """Over pairs of sets of 2,000 points: a single pair varies by a third or more."""
    return sum(float(energy_distance(first(), second())) for _ in range(pairs)) / pairs


def point_model(density, schedule, seed, device, *, target=v_target, steps=POINT_STEPS, on_step=None):
    """A network trained on 20,000 points of the density, its average, and a generator to go on with."""
    generator = torch.Generator(device).manual_seed(seed)
    torch.manual_seed(seed)
    model = PointDenoiser(timestep_embedding).to(device)
    ema = EMA(model, decay=0.999)
    samples = density(20_000, torch.Generator().manual_seed(seed)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    train_diffusion(
        model, samples, schedule, optimizer, steps=steps, batch_size=POINT_BATCH_SIZE, generator=generator,
        target=target, ema=ema, warmup_steps=100, on_step=on_step,
    )  # fmt: skip
    return model, ema, generator


@pytest.mark.parametrize("name", list(DENSITIES))
def test_two_dimensional_density(name, device, run_dir, metrics, progress, budget):
    density, schedule = DENSITIES[name], alphas_cumprod(cosine_beta_schedule(POINT_TIMESTEPS)).to(device)
    held_out = torch.Generator().manual_seed(1000)
    real = mean_energy_distance(*[lambda: density(NUM_POINTS, held_out)] * 2, pairs=20)
    bar, ratios, clouds = progress(POINT_STEPS * len(SEEDS), name), [], {"real": density(NUM_POINTS, held_out)}
    x, t = torch.zeros(POINT_BATCH_SIZE, 2, device=device), torch.zeros(POINT_BATCH_SIZE, device=device).long()
    flops = (
        training_flops(PointDenoiser(timestep_embedding).to(device), POINT_BATCH_SIZE, x, t) * POINT_STEPS * len(SEEDS)
    )
    with budget(flops=flops):
        for seed in SEEDS:
            on_step = lambda report: bar.update(1)  # noqa: E731
            _, ema, generator = point_model(density, schedule, seed, device, on_step=on_step)

            def predict_noise(x, t, model=ema.model):
                return noise_from_v(x, t, model(x, t), schedule)

            def generated(generator=generator, predict_noise=predict_noise, on_step=None):
                x_T = torch.randn(NUM_POINTS, 2, generator=generator, device=device)
                return p_sample_loop(predict_noise, x_T, schedule, generator=generator, on_step=on_step).cpu()

            ratios.append(mean_energy_distance(generated, lambda: density(NUM_POINTS, held_out), pairs=4) / real)
            metrics.row(seed=seed, real_against_real=real, ratio=ratios[-1])
            clouds[f"generated, seed {seed}"] = generated()
    point_clouds(run_dir / "points.png", clouds)
    path = {}
    generated(on_step=lambda t, x: path.update({f"after t = {t}": x}) if t in (199, 100, 50, 25, 10, 0) else None)
    point_clouds(run_dir / "path.png", path)
    # Right code, seeds 0 to 2: moons 0.69 to 0.86, rings 0.64 to 0.85, checkerboard 0.87 to 0.98. Broken, rings, seed 0:
    # one timestep for the whole batch 2.4, the same time embedding for every timestep 2.8, forward process without roots
    # 3.7, the average's decay on the wrong side 6.1, first timestep up 27, variance for deviation 81, samples exchanged in
    # the posterior 85, average never updated 234, no noise 429, sign of the noise from the velocity 655, of the velocity
    # 674; alphas_cumprod a step late, or not a product, or the timestep not scaled in its embedding: NaN.
    # Not seen here, only by the specs: noise added at the last step, too, 0.61; frequencies that grow 0.66.
    assert all(ratio <= 2 for ratio in ratios), f"energy distance to held-out points, real against real is 1: {ratios}"


# --- digits ---

GUIDANCE_SCALE = 1.2
FEW_STEPS = 20
SAMPLING_BATCH_SIZE = 500


def digit_unet(device, channels=(32, 64)) -> UNet:
    return UNet(1, channels=channels, attention_levels=(len(channels) - 1,), num_classes=NUM_CLASSES).to(device)


def train_on_digits(train: Digits, model, schedule, seed, device, *, steps, batch_size=128, on_step=None):
    """Class-conditional, with velocities; the average of the weights, and a generator to go on with."""
    generator = torch.Generator(device).manual_seed(seed)
    ema = EMA(model, decay=0.999)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    if on_step is not None:
        on_step.parts = dict(model=model, optimizer=optimizer, generator=generator, ema=ema)
    train_diffusion(
        model, to_model_range(train.images).to(device), schedule, optimizer, labels=train.labels.to(device),
        null_label=NUM_CLASSES, steps=steps, batch_size=batch_size, generator=generator, target=v_target, ema=ema,
        warmup_steps=100, on_step=on_step,
    )  # fmt: skip
    return ema, generator


def guided_digits(model, labels, schedule, generator, *, size, scale=GUIDANCE_SCALE, num_steps=FEW_STEPS, on_step=None):
    """Images in [0, 1] of these digits: by DDIM in `num_steps`, or by DDPM if there are as many steps as timesteps."""
    device, batches = labels.device, []
    for batch in labels.split(SAMPLING_BATCH_SIZE):

        def predict_noise(x, t, batch=batch):
            v = guided_noise(model, x, t, batch, scale=scale, null_label=NUM_CLASSES)
            return noise_from_v(x, t, v, schedule)

        x = torch.randn(len(batch), 1, size, size, generator=generator, device=device)
        if num_steps == len(schedule):
            x = p_sample_loop(predict_noise, x, schedule, generator=generator, clip=1, on_step=on_step)
        else:
            path = ddim_timesteps(len(schedule), num_steps)
            x = ddim_sample_loop(predict_noise, x, schedule, path, clip=1, on_step=on_step)
        batches.append(to_image_range(x))
    return torch.cat(batches)


def check_digits(train, test, seed, device, run_dir, metrics, progress, budget, *, name, channels, steps, sets=1):
    """Trains, samples and judges; returns the agreements by DDIM and DDPM, and the ratio of Fréchet distances.

    A set has as many images as `test`. Few images make a distance that varies by half: the mean over some `sets` does not.
    """
    judge = judge_of(train, run_dir.parent / f"judge_{name}.pt", device=device)
    real_labels, size = test.labels.to(device), test.images.shape[-1]
    at_first = judge.agreement(test.images.to(device), real_labels)
    assert at_first >= 0.98, f"the judge recognises only {at_first:.1%} of real digits: delete {run_dir.parent}/judge_*"
    schedule = alphas_cumprod(cosine_beta_schedule(1000)).to(device)
    torch.manual_seed(seed)
    model = digit_unet(device, channels)
    recorder = Recorder(run_dir, metrics, progress(steps, name))
    images, t = to_model_range(train.images[:128]).to(device), torch.zeros(128, device=device).long()
    flops = training_flops(model, 128, images, t, train.labels[:128].to(device))
    # a guided step of sampling is two forward passes, a third of a step of training each
    for_all_steps = real_labels[:SAMPLING_BATCH_SIZE]
    sampling = flops / 3 * 2 * (sets * len(real_labels) * FEW_STEPS + len(for_all_steps) * len(schedule)) / 128
    with budget(flops=flops * steps + sampling):
        ema, generator = train_on_digits(train, model, schedule, seed, device, steps=steps, on_step=recorder)
        few = [guided_digits(ema.model, real_labels, schedule, generator, size=size) for _ in range(sets)]
        all_steps = guided_digits(ema.model, for_all_steps, schedule, generator, size=size, num_steps=len(schedule))
    real = judge.moments(train.images.to(device))
    baseline = float(frechet_distance(*real, *judge.moments(test.images.to(device))))
    ratios = [float(frechet_distance(*real, *judge.moments(images))) / baseline for images in few]
    found = dict(
        ddim=judge.agreement(torch.cat(few), real_labels.repeat(sets)),
        ddpm=judge.agreement(all_steps, for_all_steps),
        frechet=sum(ratios) / sets,
    )
    recorder.found(**found)
    learning_curves(run_dir / "loss.png", {"training loss": {"seed": tuple(zip(*recorder.rows))}})
    in_order = real_labels.sort(stable=True).indices[:: max(1, len(real_labels) // 60)][:60]
    image_grid(run_dir / "digits.png", few[0][in_order].cpu(), columns=20)
    by_step = []
    guided_digits(
        ema.model, torch.arange(NUM_CLASSES, device=device), schedule, generator, size=size,
        on_step=lambda t, x: by_step.append(to_image_range(x)),
    )  # fmt: skip
    image_grid(run_dir / "by_step.png", torch.cat(by_step[3::4]).cpu(), columns=NUM_CLASSES)
    return found


def test_digits(device, run_dir, metrics, progress, budget):
    train, test = small_digits("train"), small_digits("test")
    options = dict(name="digits", channels=(32, 64), steps=3000, sets=4)
    found = check_digits(train, test, 0, device, run_dir, metrics, progress, budget, **options)
    # Right code at scale 1.2, seeds 0 to 2: agreement 1.00 in 20 and in 1,000 steps; Fréchet distance of thirteen times four
    # sets 1.74 to 2.24 (of single sets 1.6 to 2.7). Broken, seed 0, single sets: pixels left in 0 to 1: 0.15, 327; label
    # never added: 0.105, 1.7. Not seen here, only by the specs: a network that is never told the timestep: 0.998, 1.9.
    assert found["ddim"] >= 0.95, f"the judge recognises {found['ddim']:.1%} of guided digits"
    assert found["frechet"] <= 3, f"Fréchet distance to real digits, real against real is 1: {found['frechet']:.2f}"
    assert found["ddim"] >= found["ddpm"] - 0.02, f"20 steps {found['ddim']:.1%}, 1,000 steps {found['ddpm']:.1%}"


def test_mnist(device, run_dir, metrics, progress, budget, data_dir, download):
    try:
        train, test = (mnist(data_dir, split, download=download) for split in ("train", "test"))
    except DataMissing as error:
        pytest.skip(str(error))
    test = Digits(test.images[:2000], test.labels[:2000])
    options = dict(name="mnist", channels=(16, 32, 64), steps=3000)
    found = check_digits(train, test, 0, device, run_dir, metrics, progress, budget, **options)
    # Right code, seed 0: agreement 0.987 in 20 and 0.986 in 1,000 steps, Fréchet distance 2.26. The same weights used
    # wrongly, 500 images (right: 0.980, 3.54; fewer images are further away): network told t = 0 always 0.08, 5605; label
    # ignored 0.09, 12; not mapped back to pixels 0.09, 243231; velocity taken for noise 0.46, 230; its sign 0.08, 14744;
    # alphas_cumprod a step late 0.92, 28, not a product 0.08, 6446; with and without label exchanged 0.05, 8.6.
    assert found["ddim"] >= 0.95, f"the judge recognises {found['ddim']:.1%} of guided digits"
    assert found["frechet"] <= 3, f"Fréchet distance to real digits, real against real is 1: {found['frechet']:.2f}"
    assert found["ddim"] >= found["ddpm"] - 0.02, f"20 steps {found['ddim']:.1%}, 1,000 steps {found['ddpm']:.1%}"
