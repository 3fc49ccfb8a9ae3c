"""Full checks: your diffusion models, trained end to end within five minutes of a GTX 1060 each.
`pytest katas/diffusion -m gpu`

Points and scikit-learn's digits need no data. MNIST needs `--data DIR` (or `--download`). Pictures, metrics and a
checkpoint are left under runs/diffusion/; stop a check with Ctrl-C, and what it has so far stays there.
"""

import pytest
import torch

from katas.diffusion.ddpm import p_sample_loop
from katas.diffusion.flow_matching import heun_sample_loop
from katas.diffusion.given.denoisers import PointDenoiser
from katas.diffusion.given.densities import DENSITIES
from katas.diffusion.given.recipes import (
    NUM_POINTS,
    POINT_BATCH_SIZE,
    POINT_STEPS,
    POINT_TIMESTEPS,
    EveryStep,
    check_digits,
    mean_energy_distance,
    point_flow,
    point_model,
    training_flops,
)
from katas.diffusion.parametrization import noise_from_v
from katas.diffusion.schedules import alphas_cumprod, cosine_beta_schedule
from katas.diffusion.time_embedding import timestep_embedding
from katas.lab.checks.plots import point_clouds
from katas.lab.data import DataMissing
from katas.lab.digits import Digits, mnist, small_digits

pytestmark = pytest.mark.gpu

SEEDS = (0, 1, 2)


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
            _, ema, generator = point_model(density, schedule, seed, device, on_step=EveryStep(bar))

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
    # Right code, seeds 0 to 2: moons 0.69 to 0.86, rings 0.64 to 0.85, checkerboard 0.87 to 0.98. Broken, rings, seed
    # 0: one timestep for the whole batch 2.4, the same time embedding for every timestep 2.8, forward process without
    # roots 3.7, the average's decay on the wrong side 6.1, first timestep up 27, variance for deviation 81, samples
    # exchanged in the posterior 85, average never updated 234, no noise 429, sign of the noise from the velocity 655,
    # of the velocity 674; alphas_cumprod a step late, or not a product, or the timestep not scaled in its embedding:
    # NaN. Not seen here, only by the specs: noise added at the last step, too, 0.61; frequencies that grow 0.66.
    assert all(ratio <= 2 for ratio in ratios), f"energy distance to held-out points, real against real is 1: {ratios}"


@pytest.mark.parametrize("name", ["rings", "checkerboard"])
def test_density_by_flow_matching(name, device, run_dir, metrics, progress, budget):
    density, held_out = DENSITIES[name], torch.Generator().manual_seed(1000)
    real = mean_energy_distance(*[lambda: density(NUM_POINTS, held_out)] * 2, pairs=20)
    bar, ratios, clouds = progress(POINT_STEPS * len(SEEDS), name), [], {"real": density(NUM_POINTS, held_out)}
    x, t = torch.zeros(POINT_BATCH_SIZE, 2, device=device), torch.zeros(POINT_BATCH_SIZE, device=device)
    flops = training_flops(PointDenoiser(timestep_embedding).to(device), POINT_BATCH_SIZE, x, t)
    with budget(flops=flops * POINT_STEPS * len(SEEDS)):
        for seed in SEEDS:
            velocity, generator = point_flow(density, seed, device, on_step=EveryStep(bar))

            def generated(velocity=velocity, generator=generator):
                noise = torch.randn(NUM_POINTS, 2, generator=generator, device=device)
                return heun_sample_loop(velocity, noise, 20).cpu()

            ratios.append(mean_energy_distance(generated, lambda: density(NUM_POINTS, held_out), pairs=4) / real)
            metrics.row(seed=seed, real_against_real=real, ratio=ratios[-1])
            clouds[f"generated, seed {seed}"] = generated()
    point_clouds(run_dir / "points.png", clouds)
    # Right code on a CPU: rings 0.64 to 0.96 (3 seeds), checkerboard 0.70 to 1.67, mean 1.20, standard error of a mean
    # of three 0.19 (8 seeds)
    assert sum(ratios) / len(ratios) <= 2, f"energy distance to held-out points, real against real is 1: {ratios}"


# --- digits ---


def test_digits(device, run_dir, metrics, progress, budget):
    train, test = small_digits("train"), small_digits("test")
    options = dict(name="digits", channels=(32, 64), steps=3000, sets=4)
    found = check_digits(train, test, 0, device, run_dir, metrics, progress, budget, **options)
    # Right code at scale 1.2, seeds 0 to 2: agreement 1.00 in 20 and in 1,000 steps; Fréchet distance of thirteen times
    # four sets 1.74 to 2.24 (of single sets 1.6 to 2.7). Broken, seed 0, single sets: pixels left in 0 to 1: 0.15, 327;
    # label never added: 0.105, 1.7. Not seen here, only by the specs: a network that is never told the timestep: 0.998,
    # 1.9.
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
    # wrongly, 500 images (right: 0.980, 3.54; fewer images are further away): network told t = 0 always 0.08, 5605;
    # label ignored 0.09, 12; not mapped back to pixels 0.09, 243231; velocity taken for noise 0.46, 230; its sign 0.08,
    # 14744; alphas_cumprod a step late 0.92, 28, not a product 0.08, 6446; with and without label exchanged 0.05, 8.6.
    assert found["ddim"] >= 0.95, f"the judge recognises {found['ddim']:.1%} of guided digits"
    assert found["frechet"] <= 3, f"Fréchet distance to real digits, real against real is 1: {found['frechet']:.2f}"
    assert found["ddim"] >= found["ddpm"] - 0.02, f"20 steps {found['ddim']:.1%}, 1,000 steps {found['ddpm']:.1%}"
