"""The recipes of the diffusion checks: how points and digits are trained, sampled and judged."""

import torch

from katas.diffusion.ddim import ddim_sample_loop, ddim_timesteps
from katas.diffusion.ddpm import p_sample_loop
from katas.diffusion.ema import EMA
from katas.diffusion.flow_matching import flow_matching_loss
from katas.diffusion.given.denoisers import PointDenoiser
from katas.diffusion.given.judge import judge_of
from katas.diffusion.guidance import guided_noise
from katas.diffusion.objective import v_target
from katas.diffusion.parametrization import noise_from_v
from katas.diffusion.sample_metrics import energy_distance, frechet_distance
from katas.diffusion.schedules import alphas_cumprod, cosine_beta_schedule, linear_beta_schedule
from katas.diffusion.time_embedding import timestep_embedding
from katas.diffusion.training import save_checkpoint, to_image_range, to_model_range, train_diffusion
from katas.diffusion.unet import UNet
from katas.lab.checks.budget import flops_of
from katas.lab.checks.plots import image_grid, learning_curves
from katas.lab.checks.recorder import LossRecorder
from katas.lab.digits import NUM_CLASSES, Digits, small_digits


class EveryStep:
    """A callback that moves the bar."""

    def __init__(self, bar):
        self.bar = bar

    def __call__(self, report):
        self.bar.update(1)


class Recorder(LossRecorder):
    """A callback for `train_diffusion`: progress bar, a row of metrics now and then, a checkpoint, the loss curve."""

    def __init__(self, run_dir, metrics, bar, **parts):
        super().__init__(bar)
        self.run_dir, self.metrics, self.parts = run_dir, metrics, parts

    def __call__(self, report):
        means = self.add(report.step, report.loss)
        if means is not None:
            self.metrics.row(step=report.step + 1, loss=means[0], name="", value="")
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


# --- points -----------------------------------------------------------------------------------------------------------

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


# --- flow matching ----------------------------------------------------------------------------------------------------

TIME_SCALE = 1000  # networks are told a time in [0, 1] as if it were one of so many timesteps


def flow_of(model, samples, seed, device, *, steps, batch_size, labels=None, on_step=None):
    """Trains `model` by flow matching. Returns the averaged weights' velocity, of (x, t, *labels), and a generator."""
    generator = torch.Generator(device).manual_seed(seed)
    ema, optimizer = EMA(model, decay=0.999), torch.optim.AdamW(model.parameters(), lr=2e-3)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))
    for step in range(steps):
        chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=device)
        told = () if labels is None else (labels[chosen],)
        x_start, t = samples[chosen], torch.rand(batch_size, generator=generator, device=device)
        noise = torch.randn(x_start.shape, generator=generator, device=device)
        loss = flow_matching_loss(lambda x, t, told=told: model(x, TIME_SCALE * t, *told), x_start, t, noise).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warmup.step()
        ema.update(model)
        if on_step is not None:
            on_step(step)
    return lambda x, t, *told: ema.model(x, TIME_SCALE * t, *told), generator


def point_flow(density, seed, device, *, steps=POINT_STEPS, on_step=None):
    """The points, network and steps of `point_model`."""
    torch.manual_seed(seed)
    model = PointDenoiser(timestep_embedding).to(device)
    samples = density(20_000, torch.Generator().manual_seed(seed)).to(device)
    return flow_of(model, samples, seed, device, steps=steps, batch_size=POINT_BATCH_SIZE, on_step=on_step)


def digit_flow(seed, device, *, steps, on_step=None):
    """The digits, network and steps of `Trained`; labels are never dropped."""
    train = small_digits("train")
    torch.manual_seed(seed)
    images, labels = to_model_range(train.images).to(device), train.labels.to(device)
    options = dict(steps=steps, batch_size=128, labels=labels, on_step=on_step)
    return flow_of(digit_unet(device), images, seed, device, **options)


# --- digits -----------------------------------------------------------------------------------------------------------

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

    A set has as many images as `test`. The distance of few images varies by half, so it is a mean over `sets`.
    """
    judge = judge_of(train, run_dir.parent / f"judge_{name}.pt", device=device)
    real_labels, size = test.labels.to(device), test.images.shape[-1]
    at_first = judge.agreement(test.images.to(device), real_labels)
    assert at_first >= 0.98, f"the judge recognises only {at_first:.1%} of real digits: delete {run_dir.parent}/judge_*"
    schedule = alphas_cumprod(cosine_beta_schedule(1000)).to(device)
    torch.manual_seed(seed)
    model = digit_unet(device, channels)
    recorder = Recorder(run_dir, metrics, progress(steps, name))
    images, labels = to_model_range(train.images[:128]).to(device), train.labels[:128].to(device)
    flops = training_flops(model, 128, images, torch.zeros_like(labels), labels)
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
    learning_curves(run_dir / "loss.png", {"training loss": {"seed": tuple(zip(*recorder.rows, strict=True))}})
    in_order = real_labels.sort(stable=True).indices[:: max(1, len(real_labels) // 60)][:60]
    image_grid(run_dir / "digits.png", few[0][in_order].cpu(), columns=20)
    by_step = []
    guided_digits(
        ema.model, torch.arange(NUM_CLASSES, device=device), schedule, generator, size=size,
        on_step=lambda t, x: by_step.append(to_image_range(x)),
    )  # fmt: skip
    image_grid(run_dir / "by_step.png", torch.cat(by_step[3::4]).cpu(), columns=NUM_CLASSES)
    return found


# --- models of digits for the dynamics --------------------------------------------------------------------------------

SCHEDULES = {"cosine": cosine_beta_schedule, "linear": linear_beta_schedule}
DIGIT_STEPS = 1000
LABELS = torch.arange(500) % NUM_CLASSES  # fifty samples of each digit


class Trained:
    """Models of digits for one seed and schedule: at the last step (`raw`), and the average of the way (`averaged`)."""

    def __init__(self, seed: int, schedule: str, device: torch.device, on_step):
        self.alphas_cumprod = alphas_cumprod(SCHEDULES[schedule](1000)).to(device)
        torch.manual_seed(seed)
        self.raw: UNet = digit_unet(device)
        ema, _ = train_on_digits(
            small_digits("train"), self.raw, self.alphas_cumprod, seed, device, steps=DIGIT_STEPS, on_step=on_step
        )
        self.averaged: UNet = ema.model

    def samples(self, seed: int, *, model=None, **options) -> torch.Tensor:
        """500 digits, from the same starting noise for every model and option."""
        labels = LABELS.to(self.alphas_cumprod.device)
        generator = torch.Generator(labels.device).manual_seed(100 + seed)
        options = dict(scale=1) | options
        model = model or self.averaged
        return guided_digits(model, labels, self.alphas_cumprod, generator, size=8, **options)


def spread_within_digits(features: torch.Tensor) -> float:
    """Variance of the judge's features among samples of one digit, summed over the features."""
    return sum(float(features[LABELS == digit].var(dim=0).sum()) for digit in range(NUM_CLASSES)) / NUM_CLASSES
