"""cartpole, as two linear equations by Cramer's rule; memory that is reused; and steps that are counted down to 0."""

import math

import torch

from solutions.rl.cartpole import CartPoleStep, VectorStep


def cartpole_step(states, actions):
    # [M, m l cos; m l cos, 4/3 m l²] (x'', theta'') = (F + m l theta'² sin, m l g sin), by Cramer's rule
    theta, theta_dot = states[:, 2], states[:, 3]
    ml, mass = 0.1 * 0.5, 1.1
    force = torch.where(actions == 1, torch.full_like(theta, 10), torch.full_like(theta, -10))
    cross, inertia = ml * theta.cos(), 0.1 * 4 / 3 * 0.25
    right = force + ml * theta_dot**2 * theta.sin(), 9.8 * ml * theta.sin()
    determinant = mass * inertia - cross**2
    x_acc = (right[0] * inertia - cross * right[1]) / determinant
    theta_acc = (mass * right[1] - cross * right[0]) / determinant
    velocity = torch.stack((states[:, 1], x_acc, theta_dot, theta_acc), dim=1)
    new = states + 0.02 * velocity
    inside = (new[:, 0] >= -2.4) & (new[:, 0] <= 2.4)
    inside = inside & (new[:, 2] >= -12 * math.pi / 180) & (new[:, 2] <= 12 * math.pi / 180)
    return CartPoleStep(new, ~inside)


class VectorCartPole:
    def __init__(self, num_envs, *, generator, max_steps=500, dtype=torch.float32):
        for name, number in {"num_envs": num_envs, "max_steps": max_steps}.items():
            if number <= 0:
                raise ValueError(name)
        self.num_envs, self.num_actions, self.observation_size = num_envs, 2, 4
        self.generator, self.max_steps, self.dtype = generator, max_steps, dtype
        self.states = torch.full((num_envs, 4), math.nan, dtype=dtype, device=generator.device)
        self.left = None

    def fresh(self):
        random = torch.rand(self.states.shape, generator=self.generator, dtype=self.dtype, device=self.states.device)
        return (2 * random - 1) * 0.05

    def reset(self):
        self.states.copy_(self.fresh())
        self.left = torch.full_like(self.states[:, 0], self.max_steps, dtype=torch.int32)  # 0 once an episode is over
        return self.states.clone()

    def step(self, actions):
        if self.left is None:
            raise RuntimeError("reset comes first")
        if actions.shape != (self.num_envs,):
            raise ValueError("actions")
        active = self.left > 0
        moved, fallen = cartpole_step(self.states, actions)
        self.states.copy_(self.fresh())
        self.states[:] = moved.where(active[:, None], self.states)
        self.left = torch.where(active, self.left - 1, self.max_steps)
        terminated, truncated = fallen & active, self.left == 0
        self.left[terminated] = 0
        return VectorStep(self.states.clone(), active.to(self.dtype), terminated, truncated)
