"""Training by SAC: act, remember, and learn at every step from old transitions.

`actor(observations)` returns `(mean, log_std)` of a Gaussian, each (N, A), which tanh squashes.
`critics(observations, actions)` returns `(q1, q2)`, each (N,). Actions lie in [-1, 1], also in the buffer. Only the
environments get them times `envs.action_limit`. The environments reset on the step after an end
(`given/environments.py`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .dqn import polyak_update
from .replay_buffer import ReplayBuffer, Transitions
from .sac import sac_actor_loss, sac_critic_target, squashed_gaussian_sample, temperature_loss


class SACReport(NamedTuple):
    """What `train_sac` reports after a step, in Python numbers.

    All are means over the updates of this step, each before its optimizer's step, and NaN if there was no update. The
    entropy is -mean(log pi) of the actions in the actor's loss.
    """

    step: int
    critic_loss: float
    actor_loss: float
    temperature: float
    entropy: float


def train_sac(
    actor: nn.Module,
    critics: nn.Module,
    target_critics: nn.Module,
    log_temperature: Float[Tensor, ""],
    envs,
    buffer: ReplayBuffer,
    *,
    actor_optimizer: torch.optim.Optimizer,
    critic_optimizer: torch.optim.Optimizer,
    temperature_optimizer: torch.optim.Optimizer | None,
    steps: int,
    generator: torch.Generator,
    first_step: int = 0,
    batch_size: int = 256,
    gamma: float = 0.99,
    tau: float = 0.005,
    random_steps: int = 1000,
    updates_per_step: int = 1,
    target_entropy: float | None = None,
    on_step: Callable[[SACReport], None] | None = None,
) -> None:
    """Trains in place, in the steps `first_step` ... steps - 1 of all environments. It begins with `envs.reset()`.

    A step acts and stores; steps that reset are not stored. Actions are uniform in the steps before `random_steps`,
    drawn from the policy afterwards. Once the buffer holds `batch_size` transitions, `updates_per_step` updates follow.
    Each samples a batch:

        critic_loss = mean((q1 - y)^2) + mean((q2 - y)^2),      y = sac_critic_target
        actor_loss = sac_actor_loss of new actions and the critics after their step
        temperature_loss of the same actions, unless `temperature_optimizer` is None
        target_critics move towards critics by tau

    Each loss moves only what its optimizer holds: an actor's step never moves the critics. `target_entropy` is
    -envs.action_size if None. Last comes `on_step(report)`. A loss that is not finite raises a FloatingPointError that
    names the step; what this loss would move stays as it was.

    Refused: environments whose actions are choices; `gamma` or `tau` outside [0, 1]; `updates_per_step` below 1;
    `batch_size` outside [1, capacity].
    """
    _check(envs, buffer, batch_size, updates_per_step, gamma=gamma, tau=tau)
    target_entropy = -envs.action_size if target_entropy is None else target_entropy
    observations = envs.reset()
    resets = torch.zeros(envs.num_envs, dtype=torch.bool, device=observations.device)
    for step in range(first_step, steps):
        policy = None if step < random_steps else actor
        observations, resets = _act(policy, envs, buffer, observations, resets, generator)
        numbers = []
        for _ in range(updates_per_step if len(buffer) >= batch_size else 0):
            batch, temperature = buffer.sample(batch_size, generator=generator), log_temperature.detach().exp()
            critic_loss = _critic_loss(actor, critics, target_critics, batch, temperature, gamma, generator)
            _descend(critic_optimizer, critic_loss, f"the critics' loss in step {step}")
            actor_loss, log_probs = _actor_loss(actor, critics, batch, temperature, generator)
            _descend(actor_optimizer, actor_loss, f"the actor's loss in step {step}")
            if temperature_optimizer is not None:
                loss = temperature_loss(log_temperature, log_probs, target_entropy=target_entropy)
                _descend(temperature_optimizer, loss, f"the temperature's loss in step {step}")
            polyak_update(target_critics, critics, tau=tau)
            numbers.append(torch.stack([critic_loss, actor_loss, temperature, -log_probs.mean()]).detach())
        if on_step is not None:
            means = torch.stack(numbers).mean(dim=0).tolist() if numbers else [math.nan] * 4
            on_step(SACReport(step, *means))


def _check(envs, buffer: ReplayBuffer, batch_size: int, updates_per_step: int, **shares: float) -> None:
    if envs.num_actions is not None:
        raise ValueError("envs: the policy draws real numbers, and their actions are choices (num_actions is a number)")
    if not 1 <= batch_size <= buffer.capacity:
        raise ValueError(f"batch_size must lie between 1 and the capacity, {buffer.capacity}, got {batch_size}")
    if updates_per_step < 1:
        raise ValueError(f"updates_per_step must be at least 1, got {updates_per_step}")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {share}")


@torch.no_grad()
def _act(
    policy: nn.Module | None,  # None: uniform actions
    envs,
    buffer: ReplayBuffer,
    observations: Float[Tensor, "E *shape"],
    resets: Bool[Tensor, " E"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "E *shape"], Bool[Tensor, " E"]]:
    """One step of the environments, into the buffer. `resets` says where this step resets, and then the next one."""
    if policy is None:
        actions = observations.new_empty(envs.num_envs, envs.action_size).uniform_(-1, 1, generator=generator)
    else:
        actions = squashed_gaussian_sample(*policy(observations), generator=generator).actions
    step = envs.step(actions * envs.action_limit)
    buffer.add(observations, actions, step.rewards, step.observations, step.terminated, valid=~resets)
    return step.observations, step.terminated | step.truncated


def _critic_loss(
    actor, critics, target_critics, batch: Transitions, temperature: Tensor, gamma: float, generator: torch.Generator
) -> Float[Tensor, ""]:
    observations, actions, rewards, next_observations, terminated = batch
    with torch.no_grad():
        next_actions, next_log_probs = squashed_gaussian_sample(*actor(next_observations), generator=generator)
        next_q = target_critics(next_observations, next_actions)
    targets = sac_critic_target(rewards, *next_q, next_log_probs, terminated, temperature=temperature, gamma=gamma)
    q1, q2 = critics(observations, actions)
    return (q1 - targets).square().mean() + (q2 - targets).square().mean()


def _actor_loss(
    actor, critics, batch: Transitions, temperature: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, ""], Float[Tensor, " B"]]:
    """The loss, and the log-probabilities of the actions in it."""
    actions, log_probs = squashed_gaussian_sample(*actor(batch.observations), generator=generator)
    loss = sac_actor_loss(*critics(batch.observations, actions), log_probs, temperature=temperature)
    return loss, log_probs


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, what: str) -> None:
    if not math.isfinite(value := loss.item()):
        raise FloatingPointError(f"{what} is not finite: {value}")
    optimizer.zero_grad()
    held = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad]
    loss.backward(inputs=held)  # the actor's loss passes through the critics, and leaves no gradient there
    optimizer.step()
