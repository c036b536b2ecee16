"""A model's identity: what tells one network from another, whatever its file is called and wherever it runs.

Icons, names, natural examples, bases and exported graphs are kept under it. Networks of equal identity compute the
same: it is made of the weights (whatever format they came in), the architecture's name, the modules' paths and types,
the preprocessing, and a fingerprint of what the network answers, which differs where only code differs.

Servers have to agree on it to the bit, on any processor. So the fingerprint is computed on the CPU in double precision
and rounded to three digits of the largest output: processors differ by about 1e-13 of it, so that among a hundred
outputs one lies that close to a rounding's edge in about one of 1e8 models. The few networks that cannot run so give
few outputs and one digit, for the same reason.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from striate_service.models.description import Preprocessing
from striate_service.models.outputs import tensors_of

_DEFINITION = 1
"""A change to it would leave everything that is stored behind."""
_FINE, _COARSE = (100, 1000), (4, 10)
"""How many outputs the fingerprint has, and how many steps from 0 to the largest."""


def identity_of(network: nn.Module, architecture: str, preprocessing: Preprocessing, input_shape: Sequence[int]) -> str:
    """Return a network's identity, 64 hexadecimal digits.

    Args:
        network: on the CPU, in evaluation mode and single precision.
        input_shape: of one image, [C, H, W].
    """
    resize: object = preprocessing.resize
    if preprocessing.keeps_proportions and isinstance(resize, tuple):
        resize = ("covered", *resize)
    facts = {
        "definition": _DEFINITION,
        "architecture": architecture,
        "preprocessing": [resize, preprocessing.interpolation, preprocessing.mean, preprocessing.std],
        "input": list(input_shape),
        "modules": [[path, type(module).__name__] for path, module in network.named_modules()],
        "weights": _weights(network),
        "answers": _fingerprint(network, input_shape),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        if isinstance(value, Tensor) and not name.endswith("num_batches_tracked"):  # which evaluation does not use
            array = value.detach().cpu().contiguous().numpy()
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _fingerprint(network: nn.Module, input_shape: Sequence[int]) -> list[list[int]]:
    """Return a few of a network's outputs for an image of noise, rounded."""
    # A stream of numbers that NumPy promises never to change.
    noise = torch.from_numpy(np.random.RandomState(0).random_sample((1, *input_shape)) * 4 - 2)
    doubles = _InDouble()
    try:
        network.double()
        with doubles:
            output = _answer(network, noise, torch.float64)
        fineness = _FINE if doubles.complete else _COARSE
    except Exception:  # whatever its modules say of numbers that they do not expect
        output, fineness = None, _COARSE
    finally:
        network.float()
    if output is None:
        output = _answer(network, noise.float(), torch.float32)
    return [_rounded(each, *fineness) for each in tensors_of(output)]


def _answer(network: nn.Module, image: Tensor, dtype: torch.dtype) -> object:
    former = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # of the tensors that its code makes
    try:
        with torch.inference_mode(), torch.random.fork_rng([]):
            torch.manual_seed(0)  # of networks that draw lots in evaluation too
            return network(image)
    finally:
        torch.set_default_dtype(former)


class _InDouble(TorchFunctionMode):
    """Has everything computed in double precision, also where a network's code writes down another.

    A TorchDispatchMode would see more, but its first use imports torch's compiler, which takes seconds of every start.
    """

    complete = True
    """Whether everything was."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function in _SHORTENING:
            function = Tensor.double
        output = function(*tree_map(_doubled, arguments), **tree_map(_doubled, options or {}))
        self.complete &= all(tensor.dtype == torch.float64 for tensor in tensors_of(output))
        return output


_SHORTENING = frozenset({Tensor.float, Tensor.half, Tensor.bfloat16})


def _doubled(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    is_shorter = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
    return value.double() if is_shorter else value


def _rounded(output: Tensor, count: int, steps: int) -> list[int]:
    flat = output.double().flatten()
    chosen = flat[:: max(1, len(flat) // count)][:count].nan_to_num(0, 0, 0)
    largest = float(chosen.abs().max()) if len(chosen) else 0.0
    if not largest:
        return []
    return [round(value) for value in (chosen / largest * steps).tolist()] + [round(math.log(largest) * steps)]
