"""The solutions' loops, resumed from a file, do what they do when they are called twice in a row, to the bit."""

import copy

import pytest
import torch

from katas.lab.strategies import rng
from katas.rl.given.networks import ActorCritic, GaussianActor, TwinCritics, mlp, on_cpu_seed
from katas.rl.given.probes import PROBES, Aim, Probe
from katas.rl.given.whole_run import expect_same_run
from solutions.rl.checkpoints import load_checkpoint, save_checkpoint
from solutions.rl.dqn_training import train_dqn
from solutions.rl.ppo_training import train_ppo
from solutions.rl.replay_buffer import ReplayBuffer
from solutions.rl.sac_training import train_sac

RULES = PROBES["the right action depends on the observation"]


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


def ppo_run(seed):
    model = on_cpu_seed(seed, lambda: ActorCritic(1, 2, hidden=(4,)), "cpu")
    parts = {"model": model, "optimizer": adam(model.parameters()), "generator": rng(seed), "of envs": rng(seed + 1)}

    def train(first, until, keep=None):
        envs = Probe(RULES, 5, generator=parts["of envs"])
        options = dict(generator=parts["generator"], rollout_steps=4, minibatch_size=8, on_update=keep)
        train_ppo(model, envs, parts["optimizer"], updates=until, first_update=first, **options)

    return parts, train


def dqn_run(seed):
    online = on_cpu_seed(seed, lambda: mlp(1, 4, 2), "cpu")
    parts = {"online": online, "target": copy.deepcopy(online), "buffer": ReplayBuffer(30, (1,))}
    parts |= {"optimizer": adam(online.parameters()), "generator": rng(seed), "of envs": rng(seed + 1)}

    def train(first, until, keep=None):
        envs = Probe(RULES, 5, generator=parts["of envs"])
        learners = online, parts["target"], envs, parts["buffer"], parts["optimizer"]
        options = dict(generator=parts["generator"], batch_size=8, learning_starts=10, on_step=keep)
        train_dqn(*learners, steps=until, first_step=first, **options)

    return parts, train


def sac_run(seed):
    actor, critics = (
        on_cpu_seed(seed, lambda m=make: m(1, 1, hidden=(4,)), "cpu") for make in (GaussianActor, TwinCritics)
    )
    log_temperature = torch.tensor(0.1 * seed, requires_grad=True)
    parts = {
        "actor": actor, "critics": critics, "target": copy.deepcopy(critics), "log_temperature": log_temperature,
        "buffer": ReplayBuffer(30, (1,), action_shape=(1,), action_dtype=torch.float32), "generator": rng(seed),
        "of envs": rng(seed + 1), "actor's": adam(actor.parameters()), "critics'": adam(critics.parameters()),
        "temperature's": adam([log_temperature]),
    }  # fmt: skip

    def train(first, until, keep=None):
        envs = Aim(5, generator=parts["of envs"])
        optimizers = dict(actor_optimizer=parts["actor's"], critic_optimizer=parts["critics'"])
        options = optimizers | dict(temperature_optimizer=parts["temperature's"], generator=parts["generator"])
        learners = actor, critics, parts["target"], log_temperature, envs, parts["buffer"]
        train_sac(*learners, steps=until, first_step=first, batch_size=8, random_steps=4, on_step=keep, **options)

    return parts, train


@pytest.mark.parametrize("make_run", [ppo_run, dqn_run, sac_run])
def test_a_loop_resumes_from_a_checkpoint_to_the_bit(tmp_path, make_run):
    whole, train_whole = make_run(1)
    train_whole(0, 9)
    train_whole(9, 15)

    stopped, train_stopped = make_run(1)
    train_stopped(0, 9, keep=lambda report: save_checkpoint(tmp_path / "run.pt", stopped, step=report[0] + 1))

    resumed, train_resumed = make_run(2)
    train_resumed(load_checkpoint(tmp_path / "run.pt", resumed), 15)
    expect_same_run(resumed, whole, "to the bit")
