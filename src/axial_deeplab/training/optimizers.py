"""RAdam inside Lookahead, SGD, linear warm-up, polynomial and cosine decay, averages of weights."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR


class Lookahead(Optimizer):
    """Slow weights that follow the fast ones of another optimizer, which start again from them every k steps.

    At every k-th step slow += alpha (fast - slow), then fast = slow. The model always holds the fast weights:
    right after a k-th step, where both are equal, is the time to evaluate and to store it. The slow weights
    live in the state of each parameter under `slow`, beside the state of the inner optimizer, so that
    `state_dict` holds both and loading it goes on exactly.

    Args:
        optimizer: the inner optimizer, which shares its groups and state and must not be stepped itself.
        num_steps: the k of the formula, in optimizer steps.
        alpha: part of the way from the slow to the fast weights, in (0, 1].

    Raises:
        ValueError: `num_steps` or `alpha` out of range.

    Source: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019, Algorithm 1.
    """

    def __init__(self, optimizer: Optimizer, num_steps: int = 5, alpha: float = 0.5) -> None:
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}; 5 is the usual number")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must be in (0, 1], got {alpha}; 0.5 is the usual number")
        super().__init__(optimizer.param_groups, {})
        for group in self.param_groups:
            group["num_fast_steps"] = 0
        self.optimizer = optimizer
        self.num_steps = num_steps
        self.alpha = alpha
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step the inner optimizer, and at every k-th call the slow weights.

        Args:
            closure: computes the loss and the gradients.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter in self._moving():
            if "slow" not in self.state[parameter]:
                # The state of a new parameter must stay empty until the inner optimizer has filled it.
                self._new_slow[parameter] = parameter.detach().clone()
        self.optimizer.step()
        for parameter, slow in self._new_slow.items():
            self.state[parameter]["slow"] = slow
        self._new_slow.clear()
        for group in self.param_groups:
            group["num_fast_steps"] += 1
            if group["num_fast_steps"] % self.num_steps == 0:
                self._step_slow(group["params"])
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, as in `torch.optim.Optimizer.add_param_group`."""
        if hasattr(self, "optimizer"):
            # The inner optimizer knows the settings that a group may leave out; the list of groups is shared.
            self.optimizer.add_param_group(param_group | {"num_fast_steps": 0})
        else:
            super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned, slow weights included."""
        # Switches that a newer PyTorch has added keep their defaults.
        groups = [
            {**own, **stored}
            for own, stored in zip(self.param_groups, state_dict["param_groups"], strict=True)
        ]
        super().load_state_dict({**state_dict, "param_groups": groups})
        self._share()

    def _share(self) -> None:
        self.optimizer.state = self.state
        self.optimizer.param_groups = self.param_groups
        self._new_slow: dict[Tensor, Tensor] = {}

    def _moving(self) -> Iterable[Tensor]:
        return (p for group in self.param_groups for p in group["params"] if p.grad is not None)

    @torch.no_grad()
    def _step_slow(self, parameters: list[Tensor]) -> None:
        moving = [p for p in parameters if "slow" in self.state[p]]
        if moving:
            slow = [self.state[p]["slow"] for p in moving]
            torch._foreach_lerp_(slow, moving, self.alpha)
            # One by one: the joint operation does not exist for sharded parameters.
            for fast, start in zip(moving, slow, strict=True):
                fast.copy_(start)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters of a model into those that decay and those that do not.

    Args:
        model: the network.
        weight_decay: decoupled weight decay of the first group.

    Returns:
        Convolution and linear kernels; then norms, biases and relative position tables, which never decay.
    """
    kernels = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d))
    }
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if id(p) in kernels], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in kernels], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def radam_lookahead(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.0,
    lookahead_steps: int = 5,
    lookahead_alpha: float = 0.5,
) -> Lookahead:
    """Return the optimizer of the paper for a model.

    Args:
        model: the network.
        lr: highest learning rate.
        weight_decay: decoupled decay of the kernels.
        lookahead_steps: k of Lookahead.
        lookahead_alpha: alpha of Lookahead.

    Source: the paper, section 4.2 ("RAdam Lookahead"), with the usual numbers of Lookahead.
    """
    radam = RAdam(parameter_groups(model, weight_decay), lr=lr, decoupled_weight_decay=True)
    return Lookahead(radam, num_steps=lookahead_steps, alpha=lookahead_alpha)


def sgd_nesterov(model: nn.Module, *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> SGD:
    """Return stochastic gradient descent with Nesterov's momentum for a model.

    Args:
        model: the network.
        lr: highest learning rate.
        momentum: part of the last step that is repeated, in [0, 1).
        weight_decay: L2 penalty of the kernels, part of their gradients.

    Source: the paper, section 4.1, which trains on ImageNet as SASA (Ramachandran et al. 2019) does.
    """
    groups = parameter_groups(model, weight_decay)
    return SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)


def fresh_state(name: str, parameters: Iterable[Tensor], *, momentum: float) -> dict[int, dict[str, Tensor]]:
    """Return tensors of the kind that an optimizer keeps after its first step, by the number of a parameter.

    Args:
        name: `radam_lookahead` or `sgd`.
        parameters: what it moves, in its order.
        momentum: momentum of `sgd`, which keeps nothing without.
    """
    if name == "sgd":
        return {n: {"momentum_buffer": each} for n, each in enumerate(parameters)} if momentum else {}
    step = torch.zeros(())
    names = ("exp_avg", "exp_avg_sq", "slow")
    return {n: {"step": step, **dict.fromkeys(names, each)} for n, each in enumerate(parameters)}


def warmup_poly(optimizer: Optimizer, *, warmup_steps: int, max_steps: int, power: float = 0.9) -> LambdaLR:
    """Return a learning rate that decays as a power of the steps that are left, after a linear warm-up.

    Args:
        optimizer: holds the highest learning rate.
        warmup_steps: steps of the warm-up; 0 for none.
        max_steps: steps of the whole training.
        power: exponent of the decay, which counts from the first step on.
    """

    def factor(step: int) -> float:
        return _warmup(step, warmup_steps) * float(max(0.0, 1.0 - step / max_steps) ** power)

    return LambdaLR(optimizer, factor)


def warmup_cosine(optimizer: Optimizer, *, warmup_steps: int, max_steps: int) -> LambdaLR:
    """Return a learning rate that decays to zero as half a cosine, after a linear warm-up.

    Args:
        optimizer: holds the highest learning rate.
        warmup_steps: steps of the warm-up; 0 for none.
        max_steps: steps of the whole training, warm-up included.
    """

    def factor(step: int) -> float:
        progress = min(1.0, max(0, step - warmup_steps) / (max_steps - warmup_steps))
        return _warmup(step, warmup_steps) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def _warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / (warmup_steps + 1))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, *, decay: float, num_steps: int) -> None:
    """Move the exponential average of a network's weights by one step, running statistics included.

    average += (1 - d) (weights - average), d = min(decay, (1 + num_steps) / (10 + num_steps)): without the
    smaller d of the first steps the random start would weigh for 1 / (1 - decay) steps.

    Args:
        average: a copy of the network, changed in place.
        model: the network.
        decay: d of a long training, in [0, 1).
        num_steps: optimizer steps so far.

    Source: SASA's protocol (Ramachandran et al. 2019), with the start of TensorFlow's averages.
    """
    new = 1.0 - min(decay, (1 + num_steps) / (10 + num_steps))
    pairs = zip(
        (*average.parameters(), *average.buffers()), (*model.parameters(), *model.buffers()), strict=True
    )
    for old, current in pairs:
        if old.is_floating_point():
            old.lerp_(current, new)
        else:
            old.copy_(current)
