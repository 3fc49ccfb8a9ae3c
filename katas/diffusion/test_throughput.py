"""How fast: a sampler beside the network that it calls, training steps and samples. `pytest … -m benchmark`

One line for each task and device: medians of yours and of the reference solution, taken in turns. A round of training
is ten steps of 128 images of 8 × 8 pixels; a round of sampling gives 128 digits in twenty steps of DDIM. On the CPU
everything runs on one thread; on the GPU every round ends with a synchronisation. Then the promise that the solutions
keep: one step of a sampler costs at most a tenth more than its network, as the median ratio of CPU times.
"""

import importlib
import time

import pytest
import torch

from katas.lab.checks.speed import in_turns, ratio, told

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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("task", ["network", "ddpm_step", "ddim_step", "sampling", "training"])
def test_speed(record_property, task, device):
    times = in_turns({who: getattr(Setting(who, device), task) for who in TREES}, device)
    images = {"sampling": COUNT, "training": TRAINING_STEPS * COUNT}.get(task, 0)
    record_property("speed", f"{task} on {device}: {told(times, images, 'images')}")


@pytest.mark.parametrize("step", ["ddpm_step", "ddim_step"])
def test_a_step_of_the_solution_costs_little_more_than_its_network(step, record_property):
    setting = Setting("solution", "cpu")
    times = in_turns({"step": getattr(setting, step), "network": setting.network}, clock=time.thread_time)
    found = ratio(times, "step", "network")
    record_property("speed", f"{step} on cpu, solution: {found:.3f} times its network")
    assert found <= 1.1, f"{step}: {found:.3f} times its network; promised is at most 1.1 times"
