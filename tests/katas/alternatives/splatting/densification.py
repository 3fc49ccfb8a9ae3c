"""Everything is one index: new row i is old row index[i], and its moments are multiplied by 0 where it is new."""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from katas.splatting.given.gaussians import Gaussians


def clone_and_split(gaussians, optimizer, gradients, *, generator, max_scale, grad_threshold=2e-4):
    if not (max_scale > 0 and grad_threshold >= 0):
        raise ValueError("max_scale and grad_threshold")
    if gradients.shape != gaussians.opacity_logits.shape:
        raise ValueError("gradients")
    sizes = gaussians.log_scales.detach().max(dim=1).values.exp()
    chosen = torch.where(gradients.detach().isnan(), False, ~(gradients.detach() < grad_threshold))
    clones = (chosen & (sizes <= max_scale)).nonzero().flatten()
    parents = (chosen & (sizes > max_scale)).nonzero().flatten()
    stay = torch.tensor([i for i in range(len(sizes)) if i not in set(parents.tolist())], dtype=torch.long)
    index = torch.cat([stay.to(clones.device), clones, parents.repeat(2)])
    new = _follow(gaussians, optimizer, index, old=len(stay))
    born = len(stay) + len(clones)
    if born < len(index):
        stds = gaussians.log_scales.detach()[index[born:]].exp()
        offsets = torch.normal(torch.zeros_like(stds), stds, generator=generator).double().numpy()
        quats = np.roll(gaussians.quats.detach()[index[born:]].double().numpy(), -1, axis=1)
        new.means.data[born:] += torch.from_numpy(Rotation.from_quat(quats).apply(offsets)).to(new.means)
        new.log_scales.data[born:] -= math.log(1.6)
    return new


def prune(gaussians, optimizer, *, min_opacity=0.005, max_scale=math.inf):
    if min_opacity < 0 or not min_opacity < 1:
        raise ValueError("min_opacity")
    if not max_scale > 0:
        raise ValueError("max_scale")
    gone = 1 / (1 + torch.exp(-gaussians.opacity_logits.detach())) < min_opacity
    gone |= (gaussians.log_scales.detach().exp() > max_scale).any(dim=1)
    index = torch.arange(len(gone), device=gone.device)[~gone]
    return _follow(gaussians, optimizer, index, old=len(index))


def reset_opacities(gaussians, optimizer, *, max_opacity=0.01):
    if not (max_opacity > 0 and max_opacity < 1):
        raise ValueError("max_opacity")
    _places(gaussians, optimizer)
    index = torch.arange(len(gaussians.means), device=gaussians.means.device)
    new = _follow(Gaussians(*[gaussians.opacity_logits] * 5), optimizer, index, old=0, fields=[3]).opacity_logits
    limit = -math.log(1 / max_opacity - 1)
    new.data[new.data > limit] = limit
    return Gaussians(*gaussians[:3], new, gaussians.sh)


def _places(gaussians, optimizer):
    places = {}
    for group in optimizer.param_groups:
        places |= {id(held): (group["params"], i) for i, held in enumerate(group["params"])}
    if not all(id(field) in places for field in gaussians):
        raise ValueError("the optimizer has other tensors")
    return [places[id(field)] for field in gaussians]


def _follow(gaussians, optimizer, index, *, old, fields=range(5)):
    places, new = _places(gaussians, optimizer), list(gaussians)
    fresh = torch.arange(len(index), device=index.device) >= old
    for i in fields:
        params, place = places[i]
        new[i] = params[place] = torch.nn.Parameter(gaussians[i].detach()[index])
        for key, value in optimizer.state.pop(gaussians[i], {}).items():
            if torch.is_tensor(value) and value.dim() > 0:
                value = value[index]
                value[fresh] = 0
            optimizer.state[new[i]][key] = value
    return Gaussians(*new)
