"""How fast: a sampler beside the network that it calls, training steps and samples. `pytest … -m benchmark`

One table for each task and device: yours and the reference solution. A round of training is ten steps of 128 images
of 8 × 8 pixels; a round of sampling gives 128 digits in twenty steps of DDIM; the summary tells both in images per
second. On the CPU everything runs on one thread; on the GPU every round ends with a synchronisation. Then the
promise that the solutions keep: one step of a sampler costs at most a tenth more than its network: the median ratio
of CPU times, taken in turns.
"""

import importlib
import statistics
import time

import pytest
import torch

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
TREES = {"yours": "katas", "solution": "solutions"}
COUNT, TIMESTEPS, FEW_STEPS, TRAINING_STEPS = 128, 1000, 20, 10


class Setting:
    """A U-Net for 8 × 8 digits, as in the full check, with all that samplers and training need on its device."""

    def __init__(self, who: str, device: str):
        self.who = who
        torch.manual_seed(0)
        self.net = self.of("unet").UNet(1, channels=(32, 64), attention_levels=(1,), num_classes=10).to(device)
        schedules = self.of("schedules")
        self.schedule = schedules.alphas_cumprod(schedules.cosine_beta_schedule(TIMESTEPS)).to(device)
        self.x = torch.randn(COUNT, 1, 8, 8, device=device)
        self.t = torch.full((COUNT,), 500, device=device)
        self.labels = torch.arange(COUNT, device=device) % 10
        self.generator = torch.Generator(device).manual_seed(0)

    def of(self, kata: str):
        return importlib.import_module(f"{TREES[self.who]}.diffusion.{kata}")

    def predict_noise(self, x, t):
        return self.net(x, t, self.labels)

    @torch.no_grad()
    def network(self):
        return self.predict_noise(self.x, self.t)

    @torch.no_grad()
    def ddpm_step(self):
        pred_noise = self.predict_noise(self.x, self.t)
        return self.of("ddpm").p_sample(self.x, self.t, pred_noise, self.schedule, noise=self.x, clip=1)

    @torch.no_grad()
    def ddim_step(self):
        pred_noise = self.predict_noise(self.x, self.t)
        return self.of("ddim").ddim_step(self.x, 500, 450, pred_noise, self.schedule, clip=1)

    def sampling(self):
        ddim = self.of("ddim")
        path = ddim.ddim_timesteps(TIMESTEPS, FEW_STEPS)
        return ddim.ddim_sample_loop(self.predict_noise, self.x, self.schedule, path, clip=1)

    def training(self):
        optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-4)
        self.of("training").train_diffusion(
            self.net, self.x, self.schedule, optimizer, labels=self.labels, null_label=10, steps=TRAINING_STEPS,
            batch_size=COUNT, generator=self.generator,
        )  # fmt: skip


def run(task, device: str) -> None:
    task()
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(task) -> float:
    """Of this thread alone: what else runs on the machine does not count."""
    start = time.thread_time()
    task()
    return time.thread_time() - start


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("who", TREES)
@pytest.mark.parametrize("task", ["network", "ddpm_step", "ddim_step", "sampling", "training"])
def test_speed(benchmark, request, record_property, task, who, device):
    if device == "cuda" and request.config.getoption("--device") == "cpu":
        pytest.skip("--device cpu")
    function = getattr(Setting(who, device), task)
    images = {"sampling": COUNT, "training": TRAINING_STEPS * COUNT}.get(task)
    benchmark.group = f"{task}{f', {images} images a round' if images else ''}, on {device}"
    run(function, device)  # the first time allocates memory and loads kernels
    if not images:
        benchmark(run, function, device)
        return
    benchmark.pedantic(run, args=(function, device), rounds=3)
    if benchmark.stats:  # None with --benchmark-disable
        rate = images / benchmark.stats.stats.median
        record_property("speed", f"{task} on {device}, {who}: {rate:,.0f} images per second")


@pytest.mark.parametrize("step", ["ddpm_step", "ddim_step"])
def test_a_step_of_the_solution_costs_little_more_than_its_network(step, record_property):
    setting = Setting("solution", "cpu")
    tasks = getattr(setting, step), setting.network
    times = [[seconds(task) for task in tasks] for _ in range(80)]
    ratio = statistics.median(whole / network for whole, network in times)
    record_property("speed", f"{step} on cpu, solution: {ratio:.3f} times its network")
    assert ratio <= 1.1, f"{step}: {ratio:.3f} times its network; promised is at most 1.1 times"
