"""reward_shaping: shaping with arithmetic masks, optimal values by policy iteration with exact evaluation."""

import torch

from solutions.rl.reward_shaping import OptimalValues


def potential_shaping(rewards, potentials, next_potentials, terminated, *, gamma):
    if gamma < 0 or gamma > 1 or gamma != gamma:
        raise ValueError("gamma")
    with torch.no_grad():
        follows = (~terminated).to(next_potentials) * next_potentials * gamma
        return (rewards - potentials + follows).to(rewards.dtype)


@torch.no_grad()
def value_iteration(transition_probs, rewards, terminal, *, gamma, tolerance=1e-10):
    if not 0 <= gamma < 1:
        raise ValueError("gamma")
    if not tolerance > 0:
        raise ValueError("tolerance")
    live = [s for s, end in enumerate(terminal.tolist()) if not end]
    probs, gains = transition_probs.double()[live], rewards.double()[live]
    if not torch.allclose(probs.sum(-1), torch.ones_like(gains), rtol=0, atol=1e-5) or bool((probs < 0).any()):
        raise ValueError("transition_probs")
    if gains.isnan().any() or gains.isinf().any():
        raise ValueError("rewards")
    values, q_values = torch.zeros_like(rewards[:, 0]).double(), torch.zeros_like(rewards).double()
    rows = torch.arange(len(live))
    for _ in range(gains.shape[1] ** min(len(live), 20) + 1 if live else 0):
        policy = q_values[live].argmax(dim=1)
        system = torch.eye(len(live)).to(gains) - gamma * probs[rows, policy][:, live]
        values[live] = torch.linalg.solve(system, gains[rows, policy])
        q_values[live] = gains + gamma * torch.einsum("ijk,k->ij", probs, values)
        if torch.equal(q_values[live].argmax(dim=1), policy):
            break
    return OptimalValues(values.to(transition_probs.dtype), q_values.to(transition_probs.dtype))
