"""A pretended accelerator: tensors that say they lie on another device and compute on the CPU.

Everything that would fail on a GPU or on an Apple laptop fails here: tensors of two devices in
one operation, a random generator of the other device, double precision. What costs time there,
waiting for the device and sending it numbers, is counted with the line that did it. The device
is called "meta", which PyTorch knows and which no computation uses.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

FAR = torch.device("meta")
PACKAGE = str(Path(__file__).parents[1] / "t2i_course")
aten = torch.ops.aten

# the host reads a number or a size off the device, and has to wait for it
WAITS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.item.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
    aten.allclose.default,
    aten.isin.Tensor_Tensor,
}
COPIES = {aten._to_copy.default, aten.copy_.default, aten.copy.default}
DOUBLE = (torch.float64, torch.complex128)


class FarTensor(torch.Tensor):
    """A tensor on the pretended device; `near` holds its numbers, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near):
        far = torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=FAR,
        )
        far.near = near
        return far

    def __repr__(self):
        return f"far {self.near!r}"

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


class Ledger:
    """What happened on the pretended device: waits and uploads, by line of the package."""

    def __init__(self):
        self.waits, self.uploads = Counter(), Counter()

    def note(self, kind):
        self.__dict__[kind][line_of_package()] += 1


LEDGERS = []


def line_of_package() -> str:
    """The innermost line of the package that is being run: "glide.py:217 in draw"."""
    frame = sys._getframe(1)
    while frame:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            name = Path(code.co_filename).relative_to(PACKAGE)
            return f"{name}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return "outside"


def note(kind):
    for ledger in LEDGERS:
        ledger.note(kind)


class Refused(RuntimeError):
    """What a real accelerator could not do."""


def compute(func, args, kwargs):
    """Run one operation of PyTorch, checked, on the numbers behind the far tensors."""
    flat = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    far = [x for x in flat if isinstance(x, FarTensor)]
    wanted = kwargs.get("device")
    on_far = bool(far) if wanted is None else torch.device(wanted).type == FAR.type
    check(func, args, kwargs, flat, far, on_far)
    near = tree_map_only(FarTensor, lambda x: x.near, (args, kwargs))
    if wanted is not None:
        near[1]["device"] = torch.device("cpu")
    result = func(*near[0], **near[1])
    if func is aten.copy_.default:
        return args[0]
    if not on_far:
        return result
    for x in tree_flatten(result)[0]:
        if isinstance(x, torch.Tensor) and x.dtype in DOUBLE:
            raise Refused(f"double precision on the device: {func} at {line_of_package()}")
    result = tree_map_only(torch.Tensor, FarTensor, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if far else result


def check(func, args, kwargs, flat, far, on_far):
    """Refuse what a device refuses, count what costs time."""
    generator = kwargs.get("generator")
    if generator is not None and on_far:
        raise Refused(f"a {generator.device} generator: {func} at {line_of_package()}")
    near = [x for x in flat if not isinstance(x, FarTensor)]
    if func in COPIES:
        source = flat[-1] if func is not aten._to_copy.default else flat[0]
        target_far = isinstance(flat[0], FarTensor) if len(flat) > 1 else on_far
        if isinstance(source, FarTensor) and not target_far:
            note("waits")
        if not isinstance(source, FarTensor) and target_far and source.numel():
            note("uploads")
        return
    if func in WAITS and far:
        note("waits")
    if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) and far:
        masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
        if masks:
            note("waits")  # how many are true?
    if far and any(x.ndim for x in near):
        raise Refused(f"tensors of two devices: {func} at {line_of_package()}")


class Pretended(TorchDispatchMode):
    """While it is on, `device="meta"` makes far tensors, and every operation is looked at."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        flat = tree_flatten((args, kwargs))[0]
        device = kwargs.get("device")
        makes = device is not None and torch.device(device).type == FAR.type
        if makes or any(isinstance(x, FarTensor) for x in flat):
            return compute(func, args, kwargs)
        return func(*args, **kwargs)


def without_autocast(monkeypatch):
    """Half precision stays off, so that both devices count alike."""

    class Autocast(torch.autocast):
        def __init__(self, device_type, *args, **kwargs):
            super().__init__("cpu", enabled=False)

    monkeypatch.setattr(torch, "autocast", Autocast)


@contextmanager
def pretended_device(monkeypatch):
    """The pretended device, and a Ledger of what happens on it."""
    tensor, as_tensor = torch.tensor, torch.as_tensor

    def far_tensor(data, *args, device=None, **kwargs):
        made = tensor(data, *args, **kwargs)
        return made if device is None else made.to(device)

    def far_as_tensor(data, dtype=None, device=None):
        made = as_tensor(data, dtype=dtype)
        return made if device is None else made.to(device)

    # PyTorch takes a short cut for "meta": it would not look at the numbers
    monkeypatch.setattr(torch, "tensor", far_tensor)
    monkeypatch.setattr(torch, "as_tensor", far_as_tensor)
    module, name = sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices"
    fused = getattr(module, name)()
    monkeypatch.setattr(module, name, lambda: [*fused, FAR.type])
    ledger = Ledger()
    with Pretended():
        LEDGERS.append(ledger)
        try:
            yield ledger
        finally:
            LEDGERS.remove(ledger)
