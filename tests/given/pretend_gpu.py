"""A GPU that is only pretended: tensors say they are on `cuda:0`, and are computed on the CPU.

    python -m pytest katas/diffusion -m gpu --impl solutions -p tests.given.pretend_gpu

What runs on it is slow, but meets the rules of two devices: a CPU tensor among those of the GPU, an
index, a generator or a `.numpy()` on the wrong side raises as it does on a real card. Single numbers may mix, an
index may come from the CPU. Speed, memory and the numbers of real kernels are not pretended.
"""

import functools
import types
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from katas.lab.checks import budget

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
PLAIN_NUMBERS = ("item", "tolist", "__float__", "__int__", "__bool__", "__index__", "__len__")
TAKE_BOTH_DEVICES = ("copy_", "set_", "backward")
NOT_EVEN_SINGLE_NUMBERS = ("cat", "stack", "linear", "matmul", "bmm", "conv2d", "embedding", "batch_norm", "group_norm")
RANDOM = ("rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "normal", "rand_like", "randn_like")
RANDOM_IN_PLACE = ("uniform_", "normal_", "random_", "exponential_")


class GpuTensor(Tensor):
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class GpuGenerator:
    """Draws like a generator of the CPU, for tensors of the GPU alone."""

    device = GPU

    def __init__(self):
        self.of_cpu = _Generator()

    def manual_seed(self, seed):
        self.of_cpu.manual_seed(seed)
        return self

    def get_state(self):
        return self.of_cpu.get_state()

    def set_state(self, state):
        if isinstance(state, GpuTensor):
            raise TypeError("RNG state must be a CPU tensor")
        self.of_cpu.set_state(state)
        return self


_Generator = torch.Generator


class _OfEitherDevice(type):
    def __call__(cls, device="cpu"):
        return GpuGenerator() if torch.device(device).type == "cuda" else _Generator(device)

    def __instancecheck__(cls, instance):
        return isinstance(instance, (_Generator, GpuGenerator))


class Generator(metaclass=_OfEitherDevice):
    """In the place of `torch.Generator`: a class, for it stands in annotations."""


class _EveryCall(TorchFunctionMode):
    """Sees the functions that make tensors, too; they have no argument that is a GpuTensor."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def _untold(func, *args, **kwargs):
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args, **kwargs)


def _placed(on_gpu: bool, result):
    kind = GpuTensor if on_gpu else Tensor
    return tree_map(lambda leaf: _untold(leaf.as_subclass, kind) if isinstance(leaf, Tensor) else leaf, result)


def _call(func, args, kwargs):
    name = getattr(func, "__name__", "")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_gpu = any(isinstance(tensor, GpuTensor) for tensor in tensors)
    if name == "__get__":
        told = {"device": GPU, "is_cuda": True} if on_gpu else {}
        attribute = getattr(func.__self__, "__name__", "")
        return told[attribute] if attribute in told else _placed(on_gpu, _untold(func, *args))
    if name == "__set__":
        return _untold(func, *args)
    if name == "_has_compatible_shallow_copy_type":
        return False  # so that Module.to makes parameters of the other kind
    if name in ("numpy", "__array__") and on_gpu:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
    if name == "__reduce_ex__" and on_gpu:
        return _placed(False, _untold(args[0].detach).clone()).__reduce_ex__(args[1])
    if name == "__deepcopy__" and on_gpu:
        return _copied(*args)
    if name in ("cpu", "cuda", "to"):
        return _moved(args[0], name, args[1:], kwargs)
    to_gpu = on_gpu
    if kwargs.get("device") is not None:
        to_gpu = torch.device(kwargs["device"]).type == "cuda"
        kwargs = kwargs | ({"device": "cpu"} if to_gpu else {})
    elif on_gpu:
        _refuse_mixtures(name, args, tensors)
    result = _untold(func, *args, **kwargs)
    in_place = args and result is args[0]
    return result if in_place or name in PLAIN_NUMBERS else _placed(to_gpu, result)


def _refuse_mixtures(name: str, args, tensors) -> None:
    others = [tensor for tensor in tensors if not isinstance(tensor, GpuTensor)]
    fine = name in TAKE_BOTH_DEVICES or all(tensor.dim() == 0 for tensor in others)
    if name in ("__getitem__", "__setitem__"):  # an index may come from the CPU, a row of values may not
        value = args[2] if name == "__setitem__" else None
        values_fine = not isinstance(value, Tensor) or isinstance(value, GpuTensor) or value.dim() == 0
        fine = isinstance(args[0], GpuTensor) and values_fine
    if others and (name in NOT_EVEN_SINGLE_NUMBERS or not fine):
        shapes = [tuple(tensor.shape) for tensor in others]
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device; on the CPU are {shapes}")


def _copied(tensor, memo):
    if id(tensor) not in memo:
        copy = _placed(True, _untold(tensor.detach).clone()).requires_grad_(tensor.requires_grad)
        copy._is_param = isinstance(tensor, torch.nn.Parameter)
        memo[id(tensor)] = copy
    return memo[id(tensor)]


def _moved(tensor, name: str, args, kwargs):
    """`Tensor.to` in all its forms, `.cpu()` and `.cuda()`."""
    target, dtype = {"cpu": CPU, "cuda": GPU, "to": kwargs.get("device")}[name], kwargs.get("dtype")
    for each in args:
        if isinstance(each, Tensor):
            target, dtype = each.device, each.dtype
        elif isinstance(each, torch.dtype):
            dtype = each
        elif isinstance(each, (str, torch.device)):
            target = each
    if tensor.is_meta or target is not None and torch.device(target).type == "meta":
        return _untold(getattr(tensor, name), *args, **kwargs)
    was_on_gpu = isinstance(tensor, GpuTensor)
    to_gpu = was_on_gpu if target is None else torch.device(target).type == "cuda"
    result = tensor if dtype is None else _untold(tensor.to, dtype)
    if to_gpu == was_on_gpu:
        return result if result is tensor else _placed(to_gpu, result)
    return _placed(to_gpu, _untold(result.clone))


def _drawing(owner, name: str):
    real = getattr(owner, name)

    @functools.wraps(real)
    def drawn(*args, generator=None, **kwargs):
        if generator is None:
            return real(*args, **kwargs)
        told = kwargs.get("device")
        told = told or next((leaf.device for leaf in tree_leaves(args) if isinstance(leaf, Tensor)), CPU)
        if torch.device(told).type != generator.device.type:
            raise RuntimeError(f"{name}: Expected a '{told}' device type for generator, found '{generator.device}'")
        with torch._C.DisableTorchFunction() if owner is Tensor else nullcontext():  # it would look up the name again
            return real(*args, generator=getattr(generator, "of_cpu", generator), **kwargs)

    return drawn


def _loading(real):
    def loaded(file, map_location=None, **kwargs):
        found = real(file, map_location="cpu", **kwargs)
        return _placed(map_location is not None and torch.device(map_location).type == "cuda", found)

    return loaded


def install() -> None:
    """For the rest of this process."""
    torch.Generator = Generator
    for name in RANDOM:
        setattr(torch, name, _drawing(torch, name))
    for name in RANDOM_IN_PLACE:
        setattr(Tensor, name, _drawing(Tensor, name))
    torch.load = _loading(torch.load)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    answers = dict(
        is_available=True, is_initialized=True, device_count=1, current_device=0, get_device_capability=(6, 1),
        get_device_name="a pretended GPU", get_arch_list=["sm_61"], max_memory_allocated=0, synchronize=None,
        get_device_properties=types.SimpleNamespace(total_memory=6 * 2**30), set_per_process_memory_fraction=None,
        reset_peak_memory_stats=None, is_current_stream_capturing=False, get_rng_state=torch.get_rng_state(),
        set_rng_state=None, set_device=None,
    )  # fmt: skip
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *args, answer=answer, **kwargs: answer)
    _EveryCall().__enter__()


def _uncounted(step) -> budget.Work:
    """The counter would take apart what is pretended."""
    step()
    return budget.Work()


def pytest_configure(config):
    budget.work_of, budget.flops_of = _uncounted, lambda step: 0.0
    install()
