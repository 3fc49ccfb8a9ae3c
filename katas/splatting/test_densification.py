"""densification: which Gaussians are cloned, split and removed, and an optimizer that goes on with the new rows.

Checked row by row in Python floats, on NAdam, AdamW and SGD. Out of scope: how screen-space gradients are gathered,
state with rows but of another shape than its parameter (Adafactor), NaN in parameters.
"""

import math
from copy import deepcopy

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.splatting.densification import clone_and_split, prune, reset_opacities
from katas.splatting.given.gaussians import Gaussians

F64, ORDER = torch.float64, (3, 0, 4, 2, 1)  # ORDER of groups, or within a group: not that of the fields
OPTIMIZERS = {
    "NAdam": lambda g: torch.optim.NAdam([{"params": [g[i]], "lr": 0.1 / (i + 1), "name": str(i)} for i in ORDER]),
    "AMSGrad": lambda g: torch.optim.AdamW([g[i] for i in ORDER], lr=0.1, amsgrad=True),
    "SGD": lambda g: torch.optim.SGD([{"params": g[:2]}, {"params": g[2:], "lr": 0.3}], lr=0.1, momentum=0.8),
}
TRAINED = [(kind, steps) for kind in OPTIMIZERS for steps in (0, 3)]


def leaves(fields):
    return Gaussians(*(field.detach().clone().requires_grad_() for field in fields))


def drawn(n, k=4, seed=0):
    means, sizes, *rest = (normal(n, *shape, seed=seed + i) for i, shape in enumerate([(3,), (3,), (4,), (), (k, 3)]))
    sizes[:, 1] -= 800  # flat: exp(-800) is 0
    return leaves([means, sizes, *rest])


def trained(gaussians, kind="NAdam", steps=3, optimizer=None):
    optimizer = optimizer or OPTIMIZERS[kind](gaussians)
    for step in range(steps):
        for i, field in enumerate(gaussians):
            field.grad = None if (kind, i) == ("SGD", 2) else normal(*field.shape, seed=10 * step + i)
        optimizer.step()
    return optimizer


def split(gaussians, optimizer, **options):  # with a column of the means in place of gradients
    others = {"gradients": gaussians.means[:, 0].detach().abs(), "generator": rng()}
    return clone_and_split(gaussians=gaussians, optimizer=optimizer, **others | options)


CALLS = [
    (split, {"max_scale": 1.7, "grad_threshold": 0.4}), (split, {"max_scale": 1, "grad_threshold": 1e9}),  # some, none
    (prune, {"min_opacity": 0.4, "max_scale": 3}), (prune, {"min_opacity": 0}),
    (reset_opacities, {}), (reset_opacities, {"max_opacity": 0.999}),
]  # fmt: skip


# --- the definition ---------------------------------------------------------------------------------------------------


def picked(gaussians, call, max_scale=math.inf, grad_threshold=2e-4, min_opacity=0.005):
    rows = list(enumerate(zip(*(field.tolist() for field in gaussians), strict=True)))
    large = [math.exp(max(log_scales)) > max_scale for _, (_, log_scales, *_) in rows]
    if call is prune:
        return [i for i, (*_, logit, _) in rows if not large[i] and 1 / (1 + math.exp(-logit)) >= min_opacity], [], []
    chosen = [i for i, (mean, *_) in rows if abs(mean[0]) >= grad_threshold]
    parents = [i for i in chosen if large[i]]
    return [i for i, _ in rows if i not in parents], [i for i in chosen if not large[i]], parents


def expect_twin(got, optimizer, twin, other, kind):
    expect_close(got, twin, "rows that stay, clones, first children, second children (smaller)")
    states = [[its.state.get(field, {}) for field in scene] for scene, its in ((got, optimizer), (twin, other))]
    expect_close(*states, "moments follow the rows, those of new rows are 0; the step count stays")
    loaded = OPTIMIZERS[kind](again := leaves(got))
    loaded.load_state_dict(deepcopy(optimizer.state_dict()))
    for scene, its in ((got, optimizer), (twin, other), (again, loaded)):
        trained(scene, steps=1, optimizer=its)
    expect_close([got, again], [twin, twin], "the next step moves each row by its moments, saved and loaded as well")


@pytest.mark.parametrize("law, call, options, order", [
    # scales 1, 1, e, 1/e, e, e; gradients 3e-4, 1e-4, 2e-4, 0.25, NaN, 0.4; opacities 0.5, 0.0049, 0.0051, 1, 0.5, 0
    ("stay, clones, first children, second children", split, {"max_scale": 1}, [0, 1, 3, 4, 0, 3, 2, 5, 2, 5]),
    ("NaN is not chosen", split, {"max_scale": 9, "grad_threshold": 0}, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 5]),
    ("below 0.005, whatever the size", prune, {}, [0, 2, 3, 4]),
    ("0.5 is not below 0.5, 1 is not above 1", prune, {"min_opacity": 0.5, "max_scale": 1}, [0, 3]),
])  # fmt: skip
def test_six_gaussians_by_hand(law, call, options, order):
    six = drawn(6)
    six.means.data[:, 0] = torch.tensor([3e-4, 1e-4, 2e-4, 0.25, math.nan, 0.4], dtype=F64)
    six.log_scales.data[:, ::2] = torch.tensor([[0, -5], [-1, 0], [1, -3], [-1, -2], [-9, 1], [1, -4]], dtype=F64)
    six.opacity_logits.data[:] = torch.tensor([0, -5.3136, -5.2733, 50, 0, -20], dtype=F64)
    got = call(six, trained(six, steps=0), **options)
    expect_equal(got.sh[:, 0, 0].tolist(), six.sh[order, 0, 0].tolist(), f"{law}: the rows {order}")


@pytest.mark.parametrize("kind, steps", TRAINED)
@pytest.mark.parametrize("options, limit", [({}, -math.log(99)), ({"max_opacity": 0.75}, math.log(3))])
def test_opacities_are_reset(options, limit, kind, steps):
    (gaussians, optimizer), (twin, other) = ((scene, trained(scene, kind, steps)) for scene in (drawn(4), drawn(4)))
    gaussians.opacity_logits.data[:] = torch.tensor([0.5, -5, 100, -800], dtype=F64)
    twin.opacity_logits.data[:] = torch.tensor([min(x, limit) for x in (0.5, -5, 100, -800)], dtype=F64)
    for value in other.state.get(twin.opacity_logits, {}).values():
        value.mul_(value.dim() == 0)
    got = reset_opacities(gaussians=gaussians, optimizer=optimizer, **options)
    assert all(got[i] is gaussians[i] for i in (0, 1, 2, 4)), "the other four tensors are the same as before"
    expect_twin(got, optimizer, twin, other, kind)


@given(
    st.sampled_from([split, prune]), st.sampled_from(TRAINED), st.sampled_from([0, 1, 2, 5, 12]), seeds(),
    st.sampled_from([1, 4, 16]), st.sampled_from([1e-9, 0.5, 1.7, math.inf]), st.sampled_from([0, 0.6, 9]),
)  # fmt: skip
@example(split, ("AMSGrad", 3), 1000, 0, 1, 1.7, 0.6)
@example(prune, ("SGD", 3), 1000, 0, 4, 1.7, 0.6)
def test_rows_agree_with_the_definition(call, kind_and_steps, n, seed, k, max_scale, limit):
    gaussians, old, (kind, steps) = drawn(n, k, seed), drawn(n, k, seed), kind_and_steps
    optimizer, others = trained(gaussians, kind, steps), trained(old, kind, steps).state
    options = {"grad_threshold": limit} if call is split else {"min_opacity": min(limit, 0.99)}
    stay, clones, parents = picked(gaussians, call, max_scale, **options)
    got = call(gaussians=gaussians, optimizer=optimizer, max_scale=max_scale, **options)
    new, born = clones + parents + parents, len(stay + clones)
    twin = leaves(field[[*stay, *new]] for field in old)
    twin.log_scales.data[born:] -= math.log(1.6)
    twin.means.data[born:] = got.means[born : len(stay + new)].detach()  # drawn: see below
    other = OPTIMIZERS[kind](twin)
    for field, before in zip(twin, old, strict=True):
        for name, value in others.get(before, {}).items():
            other.state[field][name] = value if value.dim() == 0 else torch.cat([value[stay], 0 * value[new]])
    expect_twin(got, optimizer, twin, other, kind)


def test_children_are_drawn_from_their_parent():
    # 1 x 0.05 x 0.3, turned about an oblique axis, the quaternion 3 long. Six sigma: a false alarm in 10^7 comparisons
    turn, scales = Rotation.from_rotvec([0.9, -0.5, 0.4]), torch.tensor([1, 0.05, 0.3], dtype=F64)
    quats = 3 * torch.from_numpy(turn.as_quat(scalar_first=True)).repeat(900, 1)
    fields, generator = drawn(900)._replace(log_scales=scales.log().repeat(900, 1), quats=quats), rng(1)
    calls = [(leaves(fields), source) for source in (generator, generator, rng(1))]
    children = [split(g, trained(g, steps=0), generator=s, max_scale=0.5, grad_threshold=0).means for g, s in calls]
    moved = (torch.stack(children[:2]).reshape(2, 2, 900, 3) - fields.means).detach()
    noise = moved @ torch.from_numpy(turn.as_matrix()) / scales
    for axes in ([0, 1, 2], [0], [1], [2]):
        expect_fresh_noise(noise[..., axes], f"S^-1 R^T (child - mean) is standard normal and new, along axes {axes}")
    expect_equal(children[2], children[0], "the same seed gives the same children")


def places(optimizer, *tensors):
    numbers = {id(tensor): i for i, tensor in enumerate(tensors)}
    groups = [group | {"params": [numbers.get(id(p)) for p in group["params"]]} for group in optimizer.param_groups]
    return groups, {numbers.get(id(p), "gone") for p, state in optimizer.state.items() if state or id(p) not in numbers}


@pytest.mark.parametrize("call, options", CALLS)
@pytest.mark.parametrize("kind, steps", TRAINED)
def test_new_leaves_take_the_old_places(kind, steps, call, options):
    gaussians, exposure = drawn(7), torch.ones(7, 3, dtype=F64, requires_grad=True)
    optimizer = trained(gaussians, kind, steps)
    optimizer.add_param_group({"params": [exposure], "lr": 0.7})
    optimizer.state[exposure]["moment"] = exposure.detach()
    before, copies = places(optimizer, *gaussians, exposure), leaves(gaussians)
    got = call(gaussians, optimizer, **options)
    assert places(optimizer, *got, exposure) == before, "in the same groups and positions; no state of what is gone"
    new = [got.opacity_logits] if call is reset_opacities else got
    assert all(f.is_leaf and f.requires_grad and f.grad is None for f in new), "leaves to be trained, without .grad"
    for field in new:
        field.data += 1
    expect_equal(gaussians, copies, "the old tensors stay as they were: the new ones have memory of their own")


@pytest.mark.parametrize("name, call, options", [
    ("gradients", split, {"gradients": torch.ones(1), "max_scale": 1}), ("max_scale", split, {"max_scale": 0}),
    ("max_scale", split, {"max_scale": math.nan}), ("max_scale", prune, {"max_scale": 0}),
    *[("grad_threshold", split, {"max_scale": 1, "grad_threshold": wrong}) for wrong in (-1e-9, math.nan)],
    *[("min_opacity", prune, {"min_opacity": wrong}) for wrong in (-0.1, 1, math.nan)],
    *[("max_opacity", reset_opacities, {"max_opacity": wrong}) for wrong in (0, 1, math.nan)],
    *[("optimizer", lambda g, o, c=c, **k: c(g._replace(sh=leaves(g).sh), o, **k), options) for c, options in CALLS],
])  # fmt: skip
def test_what_is_refused_changes_nothing(name, call, options):
    optimizer = trained(gaussians := drawn(3))
    before = places(optimizer, *gaussians)
    expect_refused(name, lambda: call(gaussians, optimizer, **options))
    assert places(optimizer, *gaussians) == before, "what is refused changes nothing"


@pytest.mark.parametrize("call, options", CALLS)
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, call, options):
    def called(*fields, **norms):
        gaussians = Gaussians(*(field.detach().requires_grad_() for field in fields))
        optimizer = OPTIMIZERS["NAdam"](gaussians)
        optimizer.state |= {field: {"step": 3, "exp_avg": 2 * field.detach()} for field in gaussians}
        got = call(gaussians, optimizer, **options, **norms)
        return [*got, *(optimizer.state[field]["exp_avg"] for field in got)]

    law(called, *drawn(5), **({"gradients": normal(5, seed=9).abs()} if call is split else {}))
