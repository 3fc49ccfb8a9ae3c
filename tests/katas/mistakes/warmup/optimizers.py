from tests.katas.mistakes import Mistake

FIRST = 'state["momentum_buffer"] = gradient.clone()'
ROOT = 'root = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt_()'
LAST = 'weight.addcdiv_(state["exp_avg"], root.add_(group["eps"]), value=-lr / (1 - beta1 ** state["step"]))'
DECAY = 'weight.mul_(1 - lr * group["weight_decay"])'
SGD_DECAY = 'gradient = gradient.add(weight, alpha=group["weight_decay"])'
MISTAKES = [
    Mistake("up_the_hill", "test_steps_by_hand",
            why="The gradient points to where the loss grows: go the other way.",
            find='weight.add_(gradient, alpha=-group["lr"])',
            replace='weight.add_(gradient, alpha=group["lr"])'),
    Mistake("first_step_dampened", "test_steps_by_hand",
            why="The first buffer is the gradient itself. Started at 0 with a share of 1 - momentum, early steps are too short.",
            find=FIRST,
            replace='state["momentum_buffer"] = (1 - group["momentum"]) * gradient'),
    Mistake("average_for_momentum", "test_steps_by_hand",
            why="PyTorch's momentum adds the whole gradient. An average is smaller by 1 - momentum, as is the step.",
            find='.mul_(group["momentum"]).add_(gradient)',
            replace='.mul_(group["momentum"]).add_(gradient, alpha=1 - group["momentum"])'),
    Mistake("nesterov_is_momentum", "test_steps_by_hand",
            why="Nesterov looks one step of momentum ahead: g + momentum * m.",
            find='gradient.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer',
            replace="buffer"),
    Mistake("decay_after_the_momentum", "test_any_steps_agree_with_the_definition",
            why="In SGD the decay is part of the gradient, and goes through the momentum.",
            find="        if group[\"weight_decay\"]:\n            " + SGD_DECAY,
            replace='        if group["weight_decay"] and not group["momentum"]:\n            ' + SGD_DECAY),
    Mistake("decay_in_place", "test_gradients_are_not_changed",
            why="add_ writes the decay into p.grad. With accumulated gradients it is added again and again.",
            find=SGD_DECAY,
            replace='gradient = gradient.add_(weight, alpha=group["weight_decay"])'),
    Mistake("buffer_is_the_gradient", "test_gradients_are_not_changed",
            why="Without a copy buffer and gradient are one tensor: the next backward writes into the momentum.",
            find=FIRST,
            replace='state["momentum_buffer"] = gradient'),
    Mistake("l2_in_adam", "test_steps_by_hand",
            why="Decay inside the gradient is divided by the root of v: weights with large gradients hardly decay. That is Adam, not AdamW.",
            find=DECAY,
            replace='weight.grad = weight.grad + group["weight_decay"] * weight'),
    Mistake("decay_without_the_rate", "test_steps_by_hand",
            why="The decay is scaled by the learning rate, so that a schedule lowers both.",
            find=DECAY,
            replace='weight.mul_(1 - group["weight_decay"])'),
    Mistake("decay_after_the_step", "test_any_steps_agree_with_the_definition",
            why="PyTorch decays the weight first and steps from there.",
            find="        " + DECAY + "\n",
            replace='        weight.mul_(1 - lr * group["weight_decay"]) if state["step"] % 2 else None\n'),
    Mistake("first_moment_not_corrected", "test_steps_by_hand",
            why="m starts at 0: in the first step it is a tenth of the gradient.",
            find='value=-lr / (1 - beta1 ** state["step"]))',
            replace="value=-lr)"),
    Mistake("second_moment_not_corrected", "test_steps_by_hand",
            why="v starts at 0: in the first step it is a thousandth of the square, and the step thirty times too long.",
            find=ROOT,
            replace='root = state["exp_avg_sq"].sqrt()'),
    Mistake("eps_under_the_root", "test_steps_by_hand",
            why="eps is added to the root. Under it, 1e-8 acts like 1e-4.",
            find=LAST,
            replace='weight.addcdiv_(state["exp_avg"], (root.square() + group["eps"]).sqrt(),'
                    ' value=-lr / (1 - beta1 ** state["step"]))'),
    Mistake("betas_exchanged", "test_steps_by_hand",
            why="The first beta belongs to the mean, the second to the squares.",
            find='(beta1, beta2), lr = self.state[weight], group["betas"], group["lr"]',
            replace='(beta2, beta1), lr = self.state[weight], group["betas"], group["lr"]'),
    Mistake("absolute_value_in_v", "test_any_steps_agree_with_the_definition",
            why="v averages the squares of gradients.",
            find=".addcmul_(weight.grad, weight.grad, value=1 - beta2)",
            replace=".add_(weight.grad.abs(), alpha=1 - beta2)"),
    Mistake("rate_of_the_beginning", "test_any_steps_agree_with_the_definition",
            why="A schedule changes group[\"lr\"] between steps: read it in every step.",
            find='(beta1, beta2), lr = self.state[weight], group["betas"], group["lr"]',
            replace='(beta1, beta2), lr = self.state[weight], group["betas"], self.defaults["lr"]'),
    Mistake("steps_counted_for_all", "test_any_steps_agree_with_the_definition",
            why="A weight without a gradient has not moved: its own count, m and v stay.",
            find="                if weight.grad is not None:\n"
                 "                    self._update(weight, group)\n"
                 "        return loss\n\n"
                 "    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:\n"
                 "        state, (beta1",
            replace="                if weight.grad is None:\n"
                    "                    weight.grad = torch.zeros_like(weight)\n"
                    "                self._update(weight, group)\n"
                    "        return loss\n\n"
                    "    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:\n"
                    "        state, (beta1"),
    Mistake("state_outside_the_state", "test_a_saved_optimizer_goes_on_to_the_bit",
            why="What is not in self.state is in no state_dict: a resumed run starts its momentum anew.",
            find="            state = self.state[weight]\n",
            replace='            self.buffers = getattr(self, "buffers", {})\n'
                    "            state = self.buffers.setdefault(weight, {})\n"),
    Mistake("closure_without_gradients", "test_a_closure_is_called_with_gradients",
            why="step runs under no_grad. A closure that calls backward needs gradients back on.",
            find="    with torch.enable_grad():\n        return closure()",
            replace="    return closure()"),
    Mistake("beta_of_one_accepted", "test_options_out_of_range_are_refused",
            why="With beta = 1 the correction divides by 0.",
            find="_refuse(betas=(beta, 0, 1))",
            replace="_refuse(betas=(beta, 0, 1.1))"),
]
