"""Where a program would wait for its device: a device pretended on the CPU, so that machines without one can tell.

A GPU works through its queue while the processor fills it. Whatever needs a number of the device in Python (`.item()`,
`.cpu()`, a shape that depends on values) empties the queue first.
"""

from __future__ import annotations

import traceback

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
READS = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select", "aten::_unique2"}
FETCHES = ("cpu", "numpy", "tolist")  # no operation of their own where the tensor is on the CPU already


class Waits(TorchDispatchMode):
    """Tensors that `own` was given, and all that is computed of them, count as the device's; `found` lists each place
    where one of them is read by the processor, as "file:function operation"."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []
        self.there: dict[int, StorageWeakRef] = {}  # held: no other storage gets the address of one that is gone

    def own(self, *tensors: Tensor) -> None:
        """Let tensors be the device's."""
        self.there |= {_storage(tensor): StorageWeakRef(tensor.untyped_storage()) for tensor in tensors}

    def __enter__(self):
        self.before = {name: getattr(Tensor, name) for name in FETCHES}
        for name in FETCHES:
            setattr(Tensor, name, self._fetching(name))
        return super().__enter__()

    def __exit__(self, *error):
        for name, method in self.before.items():
            setattr(Tensor, name, method)
        return super().__exit__(*error)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inputs = {_storage(tensor) for tensor in given}
        ours = any(place in self.there for place in inputs)
        if ours and self._reads(operation, args):
            self._note(operation.name())
        out = operation(*args, **(kwargs or {}))
        if ours:
            self.own(*(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)))
        return out

    def _reads(self, operation, args) -> bool:
        name = operation.name().split(".")[0]
        if name == "aten::copy_":
            return _storage(args[0]) not in self.there  # to the host: what is there alone was found to be ours
        if name in ("aten::index", "aten::index_put", "aten::index_put_"):
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            return bool(masks) and not (len(args) > 2 and args[2].numel() == 1)  # one number is filled in by the mask
        return name in READS

    def _fetching(self, name: str):
        method = self.before[name]

        def fetch(tensor, *args, **kwargs):
            if _storage(tensor) in self.there:
                self._note(name)
            return method(tensor, *args, **kwargs)

        return fetch

    def _note(self, what: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if "/waits.py" not in frame.filename]
        ours = [frame for frame in frames if "/gcdp/" in frame.filename or "/tests/" in frame.filename]
        frame = (ours or frames)[-1]
        self.found.append(f"{frame.filename.rpartition('/')[2]}:{frame.name} {what}")


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
