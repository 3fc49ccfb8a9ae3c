"""The pictures of the README, drawn from the solutions. `python -m katas figures diffusion`

Networks are replaced by the exact denoiser of a mixture of Gaussians, so nothing is trained. `finished_run.png` beside
them is made by the full checks.
"""

import torch

from katas.diffusion.ddim import ddim_sample_loop, ddim_timesteps
from katas.diffusion.ddpm import p_sample_loop
from katas.diffusion.ema import EMA
from katas.diffusion.flow_matching import euler_sample_loop, heun_sample_loop
from katas.diffusion.forward_process import q_sample
from katas.diffusion.given.densities import moons
from katas.diffusion.given.gaussians import GaussianMixture
from katas.diffusion.min_snr import min_snr_noise_weight, min_snr_v_weight, min_snr_x_start_weight
from katas.diffusion.parametrization import x_start_from_noise, x_start_from_v
from katas.diffusion.posterior import q_posterior_mean_variance
from katas.diffusion.sample_metrics import energy_distance
from katas.diffusion.schedules import alphas_cumprod, cosine_beta_schedule, linear_beta_schedule, snr
from katas.diffusion.time_embedding import timestep_embedding
from katas.lab.checks.plots import new_figure, save

GREEN, RED, GREY, BLUE, AMBER = "#1a9850", "#d73027", "#999999", "#2166ac", "#e08214"
COSINE = alphas_cumprod(cosine_beta_schedule(200))
CORNERS = GaussianMixture([1, 1, 1], [[-1.0, -0.6], [1.0, -0.6], [0.0, 1.1]], [[[0.01, 0], [0, 0.01]]] * 3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(axis, points, title, color=BLUE, limit=2.6) -> None:
    axis.scatter(*points.T, s=1.2, linewidths=0, alpha=0.7, color=color)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    axis.set_title(title, fontsize=8)


def exact(x, t):
    return CORNERS.predict_noise(x, t, COSINE)


def forward(path) -> None:
    """Moons on their way into noise, and what two schedules leave of the signal."""
    figure, axes = new_figure(1, 5, size=(1.7, 1.9))
    x = moons(1500, rng())
    for axis, t in zip(axes, (0, 50, 100, 199), strict=False):
        noise = torch.randn(x.shape, generator=rng(1))
        cloud(axis, q_sample(x, torch.full((len(x),), t), noise, COSINE), f"t = {t}")
    for name, schedule, color in (("cosine", cosine_beta_schedule, BLUE), ("linear", linear_beta_schedule, AMBER)):
        axes[4].plot(alphas_cumprod(schedule(1000)), color=color, label=name)
    axes[4].set_title("signal left, ᾱ", fontsize=8)
    axes[4].tick_params(labelsize=6)
    axes[4].legend(fontsize=6, frameon=False)
    save(figure, path)


def time_embedding(path) -> None:
    """The rows of the embedding: one per timestep, fast waves first."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.1))
    axis.imshow(timestep_embedding(torch.arange(0, 200), 64).T, aspect="auto", cmap="RdBu")
    axis.set_xlabel("timestep", fontsize=8)
    axis.set_ylabel("column", fontsize=8)
    save(figure, path)


def three_answers(path) -> None:
    """How far off x_start is if the network's answer is off by 0.01: from the noise, from the velocity."""
    levels = alphas_cumprod(cosine_beta_schedule(1000))
    t = torch.arange(1000)
    right = torch.zeros(1000, 1, dtype=torch.float64)
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.4))
    for name, convert, color in (("noise", x_start_from_noise, AMBER), ("velocity", x_start_from_v, BLUE)):
        off = convert(right, t, right + 0.01, levels) - convert(right, t, right, levels)
        axis.plot(t, off.abs(), color=color, label=f"from the {name}")
    axis.set(yscale="log")
    axis.set_xlabel("timestep", fontsize=8)
    axis.set_ylabel("error of x_start", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    save(figure, path)


def weights(path) -> None:
    """The min-SNR weights of the three kinds of prediction, γ = 5: one objective, three forms."""
    ratio = snr(alphas_cumprod(cosine_beta_schedule(1000)))
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    for name, weight, color in (
        ("x_start", min_snr_x_start_weight, GREEN),
        ("noise", min_snr_noise_weight, AMBER),
        ("v", min_snr_v_weight, BLUE),
    ):
        axis.plot(weight(ratio), color=color, label=name)
    axis.set(yscale="log", ylim=(1e-3, 10))
    axis.set_xlabel("timestep", fontsize=8)
    axis.set_ylabel("weight", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    save(figure, path)


def step_back(path) -> None:
    """In one dimension: where x_(t-1) lies, given x_t and the clean sample."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    grid = torch.linspace(-1.3, 1.3, 400, dtype=torch.float64)
    for t, color in ((150, GREY), (60, BLUE), (10, GREEN)):
        x_start, x_t = torch.tensor([[1.0]]).double(), torch.tensor([[-0.5]]).double()
        mean, variance, _ = q_posterior_mean_variance(x_start, x_t, torch.tensor([t]), COSINE)
        density = torch.exp(-((grid - mean.item()) ** 2) / (2 * variance.item())) / variance.item() ** 0.5
        axis.plot(grid, density / density.max(), color=color, label=f"t = {t}")
    for place, name in ((1.0, "x_start"), (-0.5, "x_t")):
        axis.axvline(place, color=RED, linewidth=0.8, linestyle=":")
        axis.text(place + 0.03, 1.03, name, fontsize=7, color=RED)
    axis.set(yticks=[], ylim=(0, 1.15))
    axis.legend(fontsize=7, frameon=False, loc="center right")
    save(figure, path)


def two_ways_back(path) -> None:
    """Paths of three samples through DDPM and through DDIM, and the samples."""
    x_T = torch.randn(400, 2, generator=rng(), dtype=torch.float64)
    figure, axes = new_figure(1, 3, size=(2.3, 2.4))
    for axis, name in zip(axes, ("DDPM, 200 steps", "DDIM, 200 steps", "DDIM, 8 steps"), strict=True):
        steps = [x_T]

        def keep(t, x, steps=steps):
            steps.append(x.clone())

        if name.startswith("DDPM"):
            p_sample_loop(exact, x_T, COSINE, generator=rng(1), on_step=keep)
        else:
            ddim_sample_loop(exact, x_T, COSINE, ddim_timesteps(200, int(name.split()[1])), on_step=keep)
        ways = torch.stack(steps)
        for sample, color in ((0, BLUE), (1, AMBER), (4, GREEN)):
            axis.plot(*ways[:, sample].T, color=color, linewidth=0.8)
        cloud(axis, ways[-1], name, color=GREY)
    save(figure, path)


def exact_velocity(x, t):
    """Of the same mixture, in flow matching: x / scale is diffusion's x at the level ᾱ."""
    time = float(t[0])
    scale = (time**2 + (1 - time) ** 2) ** 0.5
    level = torch.tensor([(time / scale) ** 2], dtype=torch.float64)
    noise = CORNERS.predict_noise(x / scale, torch.zeros(len(x), dtype=torch.int64), level)
    x_start = (x - (1 - time) * noise) / time if time > 0 else CORNERS.mean()  # pure noise says nothing of its sample
    return x_start - noise


def straight(path) -> None:
    """Thirty paths of flow matching: the lines that a network learns from, and what samplers make of their mean."""
    noise = torch.randn(400, 2, generator=rng(), dtype=torch.float64)
    figure, axes = new_figure(1, 4, size=(2.0, 2.2))
    samples, _ = CORNERS.sample(400, rng(1))
    ways = {"pairs to learn from": torch.stack([noise, samples])}
    for name, solver, steps in (
        ("Euler, 100 steps", euler_sample_loop, 100),
        ("Euler, 3 steps", euler_sample_loop, 3),
        ("Heun, 3 steps", heun_sample_loop, 3),
    ):
        way = [noise]
        solver(exact_velocity, noise, steps, on_step=lambda t, x, way=way: way.append(x.clone()))
        ways[name] = torch.stack(way)
    for axis, (name, way) in zip(axes, ways.items(), strict=True):
        axis.plot(way[:, :30, 0], way[:, :30, 1], color=BLUE, linewidth=0.5, alpha=0.7)
        cloud(axis, way[-1], name, color=AMBER)
    save(figure, path)


def guidance(path) -> None:
    """One of three classes, at three scales: the samples are pulled to where the class is plain."""
    figure, axes = new_figure(1, 3, size=(2.1, 2.2))
    wide = GaussianMixture([1, 1, 1], CORNERS.means, [[[0.35, 0], [0, 0.35]]] * 3)
    x_T = torch.randn(600, 2, generator=rng(), dtype=torch.float64)
    for axis, scale in zip(axes, (0, 1, 4), strict=True):

        def guided(x, t, scale=scale):
            without, own = wide.predict_noise(x, t, COSINE), wide.component(2).predict_noise(x, t, COSINE)
            return without + scale * (own - without)

        cloud(axis, ddim_sample_loop(guided, x_T, COSINE, ddim_timesteps(200, 50)), f"scale {scale}", limit=3.6)
    save(figure, path)


def average(path) -> None:
    """A weight that jitters around a good place, and its average."""
    model = torch.nn.Linear(1, 1, bias=False)
    ema, raw, averaged = EMA(model, decay=0.98), [], []
    generator = rng(2)
    for step in range(400):
        with torch.no_grad():
            place = 1 - 0.98**step
            model.weight.fill_(place + 0.15 * float(torch.randn((), generator=generator)))
        ema.update(model)
        raw.append(float(model.weight.detach()))
        averaged.append(float(ema.model.weight.detach()))
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    axis.plot(raw, color=GREY, linewidth=0.6, label="the weight")
    axis.plot(averaged, color=BLUE, label="its average, decay 0.98 with warm-up")
    axis.set_xlabel("step", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    save(figure, path)


def judging(path) -> None:
    """The energy distance of moons to moons that are moved, over the number of points."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    real, other = moons(2000, rng()), moons(2000, rng(1))
    shifts = torch.linspace(0, 0.3, 13)
    for count, color in ((100, GREY), (500, AMBER), (2000, BLUE)):
        values = [float(energy_distance(real[:count], other[:count] + shift)) for shift in shifts]
        axis.plot(shifts, values, "o-", color=color, markersize=2.5, linewidth=0.9, label=f"{count} points")
    axis.set(yscale="log")
    axis.set_xlabel("shift of the second set", fontsize=8)
    axis.set_ylabel("energy distance", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    save(figure, path)


FIGURES = {
    "forward.png": forward,
    "time_embedding.png": time_embedding,
    "three_answers.png": three_answers,
    "weights.png": weights,
    "step_back.png": step_back,
    "two_ways_back.png": two_ways_back,
    "straight.png": straight,
    "guidance.png": guidance,
    "average.png": average,
    "judging.png": judging,
}
