"""How fast: advantages, steps of CartPole, and PPO until it balances. `pytest katas/rl -m benchmark`

The race: your PPO against stable-baselines3's, on CartPole (`given/race.py`).

Lines of medians, of rounds taken in turns. CartPole: a round is one step of 16,384 environments, beside gymnasium's own
vector environment.

Advantages: a round is one call of `compute_gae` on 2,048 steps of 64 environments. `elements` is the plain loop over
steps and environments on Python numbers, `steps` a loop over steps with numpy rows.

On the CPU everything runs on one thread. The promises that the solution keeps are medians of ratios of CPU times:
advantages at least 5 times as fast as `elements` and no slower than `steps`, carts about as fast as gymnasium's.
"""

import importlib
import statistics
import time
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch

from katas.lab.checks.speed import in_turns, ratio, told
from katas.rl.given import race

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
STEPS, ENVIRONMENTS, GAMMA, LAMBDA = 2048, 64, 0.99, 0.95


def rollout(device: str = "cpu") -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(3, STEPS, ENVIRONMENTS, generator=generator)
    ends = torch.rand(2, STEPS, ENVIRONMENTS, generator=generator) < 0.01
    return [part.to(device) for part in (*numbers, *ends)]


def elements(rewards, values, next_values, terminated, truncated):
    columns = zip(*(part.T.tolist() for part in (rewards, values, next_values, terminated, truncated)), strict=True)
    result = []
    for column in columns:
        last, advantages = 0.0, []
        for reward, value, next_value, ended, cut in reversed(list(zip(*column, strict=True))):
            delta = reward + GAMMA * next_value * (1 - ended) - value
            last = delta + GAMMA * LAMBDA * (1 - (ended or cut)) * last
            advantages.append(last)
        result.append(advantages[::-1])
    return torch.tensor(result).T


def steps(rewards, values, next_values, terminated, truncated):
    parts = (part.numpy() for part in (rewards, values, next_values, terminated, truncated))
    rewards, values, next_values, terminated, truncated = parts
    result, last = np.zeros_like(rewards), np.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + GAMMA * next_values[t] * (1 - terminated[t]) - values[t]
        last = delta + GAMMA * LAMBDA * (1 - (terminated[t] | truncated[t])) * last
        result[t] = last
    return torch.from_numpy(result)


def of_tree(tree: str):
    compute_gae = importlib.import_module(f"{tree}.rl.gae").compute_gae
    return lambda *parts: compute_gae(*parts, gamma=GAMMA, gae_lambda=LAMBDA).advantages


WHO = {"yours": "katas", "solution": "solutions"}


def advantages(device: str, *who: str):
    parts, tasks = rollout(device), {"elements": elements, "steps": steps}
    return {each: partial(of_tree(WHO[each]) if each in WHO else tasks[each], *parts) for each in who}


@pytest.mark.parametrize("device", DEVICES)
def test_speed(record_property, device):
    loops = () if device == "cuda" else ("elements", "steps")
    times = in_turns(advantages(device, *WHO, *loops), device)
    record_property("speed", f"compute_gae, {STEPS} steps of {ENVIRONMENTS} environments on {device}: {told(times)}")


@pytest.mark.parametrize("loop, floor", [("elements", 5), ("steps", 1)])
def test_the_solution_is_faster_than_a_loop(loop, floor, record_property):
    tasks = advantages("cpu", "solution", loop)
    torch.testing.assert_close(tasks["solution"](), tasks[loop](), rtol=1e-3, atol=1e-3)
    found = ratio(in_turns(tasks, seconds=4, clock=time.thread_time), loop, "solution")
    record_property("speed", f"compute_gae, solution: {found:.1f} times as fast as the loop over {loop}")
    assert found >= floor, f"{found:.2f} times as fast as the loop over {loop}; promised is {floor}"


CARTS = 16_384


def carts_of(tree: str, device: str):
    envs = importlib.import_module(f"{tree}.rl.cartpole").VectorCartPole(
        CARTS, generator=torch.Generator(device).manual_seed(0)
    )
    envs.reset()
    return envs.step


def carts_of_gymnasium():
    envs = gymnasium.make_vec("CartPole-v1", CARTS, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    return lambda actions: envs.step(actions.numpy())


def carts(device: str, *who: str):
    actions = torch.randint(2, (CARTS,), device=device)
    return {
        each: partial(carts_of(WHO[each], device) if each in WHO else carts_of_gymnasium(), actions) for each in who
    }


@pytest.mark.parametrize("device", DEVICES)
def test_speed_of_carts(record_property, device):
    times = in_turns(carts(device, *WHO, *(() if device == "cuda" else ("gymnasium",))), device)
    record_property("speed", f"CartPole on {device}: {told(times, CARTS, 'carts')}")


def test_carts_in_tensors_are_as_fast_as_gymnasiums(record_property):
    times = in_turns(carts("cpu", "solution", "gymnasium"), seconds=4, clock=time.thread_time)
    found = ratio(times, "gymnasium", "solution")
    record_property("speed", f"CartPole, solution: {found:.2f} times as fast as gymnasium's, {CARTS:,} environments")
    # one thread of an AMD EPYC: 1.00 to 1.18 in seven runs
    assert found >= 0.85, f"{found:.2f} times as fast as gymnasium's vector environment"


def test_the_race_to_a_balanced_cartpole(record_property):
    pytest.importorskip("stable_baselines3", reason="for the race: pip install stable-baselines3")
    pairs = [(race.yours(seed), race.stable_baselines3(seed)) for seed in range(8)]
    own, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    record_property("speed", f"PPO to 475 on CartPole, yours {own:.1f} s, stable-baselines3 {theirs:.1f} s")
    # one thread of an AMD EPYC, stable-baselines3 2.9: 2.5 s and 5.4 s
    assert not any(np.isnan(pairs).flat), f"seconds to the goal, NaN if it was never reached: {pairs}"
