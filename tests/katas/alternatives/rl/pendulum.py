"""pendulum, with an angle that is wrapped between steps, the wrap by atan2, and counts of steps as a tensor."""

import math

import torch

from solutions.rl.pendulum import PendulumStep, VectorStep


def pendulum_step(states, actions):
    theta, theta_dot = states[:, :1], states[:, 1:]
    u = torch.minimum(torch.maximum(actions.to(states), states.new_tensor(-2.0)), states.new_tensor(2.0))
    cost = torch.atan2(theta.sin(), theta.cos()) ** 2 + theta_dot**2 / 10 + u**2 / 1000
    theta_dot = torch.clip(theta_dot + 0.75 * theta.sin() + 0.15 * u, -8, 8)
    return PendulumStep(torch.cat((theta + theta_dot / 20, theta_dot), dim=1), -cost.squeeze(1))


class VectorPendulum:
    action_size, action_limit, observation_size = 1, 2.0, 3

    def __init__(self, num_envs, *, generator, max_steps=200, dtype=torch.float32):
        for name, number in {"num_envs": num_envs, "max_steps": max_steps}.items():
            if number <= 0:
                raise ValueError(name)
        self.num_envs, self.generator, self.max_steps, self.dtype = num_envs, generator, max_steps, dtype
        self.states = self.left = None

    def fresh(self):
        uniform = torch.rand(self.num_envs, 2, generator=self.generator, dtype=self.dtype, device=self.generator.device)
        return (2 * uniform - 1) * uniform.new_tensor([math.pi, 1.0])

    def reset(self):
        self.states = self.fresh()
        self.left = torch.full_like(self.states[:, 0], self.max_steps, dtype=torch.int64)
        return self.observations()

    def observations(self):
        theta, theta_dot = self.states.T
        return torch.stack((theta.cos(), theta.sin(), theta_dot)).T

    def step(self, actions):
        if self.left is None:
            raise RuntimeError("reset comes first")
        if actions.shape != (self.num_envs, 1):
            raise ValueError("actions")
        active = self.left > 0
        moved, rewards = pendulum_step(self.states, actions.detach())
        moved[:, 0] = torch.remainder(moved[:, 0], 2 * math.pi)
        self.states = torch.where(active[:, None], moved, self.fresh())
        self.left = torch.where(active, self.left - 1, self.max_steps)
        return VectorStep(self.observations(), rewards * active, torch.zeros_like(active), self.left == 0)
