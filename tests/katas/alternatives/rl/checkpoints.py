"""checkpoints, tried on copies first: what every copy has taken is loaded for good. Written from memory."""

import copy
import io
import pathlib
import tempfile

import torch


def save_checkpoint(path, parts, *, step):
    pairs = []
    for name, part in parts.items():
        kind = kind_of(name, part)
        pairs.append((name, kind_and_layout(kind, part), taken(kind, part)))
    torch.save([step, pairs], stream := io.BytesIO())
    content = stream.getvalue()
    try:
        torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError("such a file could not be read") from error
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = tempfile.NamedTemporaryFile(dir=target.parent, delete=False)
    try:
        with beside:
            beside.write(content)
        pathlib.Path(beside.name).replace(target)
    except Exception:
        pathlib.Path(beside.name).unlink()
        raise


def load_checkpoint(path, parts):
    try:
        content = pathlib.Path(path).read_bytes()
        step, pairs = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        found = {name: (kind, state) for name, kind, state in pairs}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"broken: {path}") from error
    for name in [*found, *parts]:
        if (name in found) != (name in parts):
            raise ValueError(f"which {name}?")
    for name, part in parts.items():
        try:
            try_on_a_copy(name, part, *found[name])
        except Exception as error:
            raise ValueError(f"{name} does not fit: {error!r}") from error
    for name, part in parts.items():
        put(kind_of(name, part), part, found[name][1])
    return step


def kind_of(name, part):
    if isinstance(part, torch.optim.Optimizer):
        return "optimizer"
    if isinstance(part, torch.nn.Module):
        return "network"
    for kind, methods in (("object", "state_dict load_state_dict"), ("generator", "get_state"), ("tensor", "copy_")):
        if all(callable(getattr(part, method, None)) for method in methods.split()):
            return kind
    raise ValueError(f"{name} is a {type(part)}")


def kind_and_layout(kind, part):
    if kind != "optimizer":
        return kind
    groups = [[(list(one.shape), str(one.dtype)) for one in group["params"]] for group in part.param_groups]
    return f"{type(part).__name__} of {groups}"


def taken(kind, part):
    return part.get_state() if kind == "generator" else part.data.clone() if kind == "tensor" else part.state_dict()


def put(kind, part, state):
    if kind == "generator":
        part.set_state(state)
    elif kind == "tensor":
        part.data.copy_(state)
    else:
        part.load_state_dict(copy.deepcopy(state))


def try_on_a_copy(name, part, saved_kind, state):
    kind = kind_of(name, part)
    assert saved_kind == kind_and_layout(kind, part), saved_kind
    if kind == "tensor":
        assert (state.shape, state.dtype) == (part.shape, part.dtype), state.shape
    if kind == "network":
        own = part.state_dict()
        assert {k: (v.shape, v.dtype) for k, v in own.items()} == {k: (v.shape, v.dtype) for k, v in state.items()}
    tried = copy.deepcopy(part.detach() if kind == "tensor" else part)
    put(kind, tried, state)
