"""Max pooling whose gradient also reaches what loses by a hair: the article's option for attribution.

Max pooling passes the whole gradient of a window to its largest entry, and none to one that is smaller by a
thousandth. So strong neurons before a max pool read 0 on every class. "The Building Blocks of Interpretability" (Olah
et al., Distill 2018) replaces that gradient in its notebook on spatial attribution (`make_MaxSmoothPoolGrad`) by one
that is "allocated proportional to the input activation", the gradient of sum x^2 / sum |x|. Here a window's gradient is
shared out by x^2,

    dL/dx_i = sum over windows w with i of  dL/dy_w * max(x_i, 0)^2 / sum over j in w of max(x_j, 0)^2

which serves the same purpose, makes no gradient and loses none, is nowhere of the other sign, and needs no constant.
Where nothing in a window is above 0, its gradient is max pooling's own. Outputs are max pooling's own everywhere: only
gradients differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LEAST = 1e-30  # of a window's sum of squares: what is divided by less overflows

_POOLS = {functional.max_pool2d, torch.max_pool2d, torch.ops.aten.max_pool2d.default}
_POOLS_WITH_INDICES = {functional.max_pool2d_with_indices, torch.ops.aten.max_pool2d_with_indices.default}


class MaxPools(TorchFunctionMode):
    """Within `with`, a network's 2d max pools, modules or functions, are recorded so that they have both gradients:

    >>> pools = MaxPools()
    >>> with pools:
    ...     logits = network(images)
    >>> torch.autograd.grad(logits.sum(), layer, retain_graph=True)  # as ever
    >>> with pools.smoothed():
    ...     torch.autograd.grad(logits.sum(), layer)

    One forward so serves callers of both kinds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.smooth = False
        """What a backward pass does now. Autograd's threads read it, so it is an attribute and no context variable."""

    @contextmanager
    def smoothed(self) -> Iterator[None]:
        """Let backward passes share out gradients by x^2."""
        self.smooth = True
        try:
            yield
        finally:
            self.smooth = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _POOLS:
            return self._pool(*args, **kwargs)
        if func in _POOLS_WITH_INDICES:
            return self._pool(*args, **{**kwargs, "return_indices": True})
        return func(*args, **kwargs)

    def _pool(
        self,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Take what torch's max_pool2d takes, and return what it does."""
        kernel = _pair(kernel_size)
        window = (kernel, _pair(stride) if stride else kernel, _pair(padding), _pair(dilation), ceil_mode)
        maxima, indices = _MaxPool.apply(input, window, self)  # type: ignore[no-untyped-call]
        return (maxima, indices) if return_indices else maxima


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[Any, ...], pools: MaxPools) -> tuple[Tensor, Tensor]:
        maxima, indices = torch.ops.aten.max_pool2d_with_indices.default(x, *window)
        ctx.save_for_backward(x, indices)
        ctx.mark_non_differentiable(indices)
        ctx.window, ctx.pools = window, pools
        return maxima, indices

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        x, indices = ctx.saved_tensors

        def to_maxima(part: Tensor) -> Tensor:
            return cast(Tensor, torch.ops.aten.max_pool2d_with_indices_backward.default(part, x, *ctx.window, indices))

        if not ctx.pools.smooth:
            return to_maxima(gradient), None, None
        kernel, stride, padding, dilation, _ceil = ctx.window
        squares = x.clamp(min=0).to(torch.promote_types(x.dtype, torch.float32)).square()
        sums = _Sums(kernel, stride, padding, dilation, x.shape[-2:], gradient.shape[-2:])
        total = sums.of_windows(squares)
        active = total > _LEAST
        shared = squares * sums.to_entries(torch.where(active, gradient / total, 0.0))
        return shared.to(x.dtype) + to_maxima(gradient.masked_fill(active, 0)), None, None


class _Sums:
    """Sums over a pool's windows [..., rows, columns], and the transposed: over the windows that an entry is in."""

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        size: torch.Size,
        windows: torch.Size,
    ) -> None:
        self._kernel, self._stride, self._dilation, self._size = kernel, stride, dilation, size
        self._margins: list[int] = []
        """Before and after, of the last axis first, as `pad` takes them: all windows cover just what is then there."""
        for axis in (1, 0):
            covered = (windows[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
            self._margins += [padding[axis], covered - size[axis] - padding[axis]]

    def of_windows(self, x: Tensor) -> Tensor:
        planes = functional.pad(x.reshape(-1, 1, *self._size), self._margins)
        sums = functional.conv2d(planes, self._ones(x), stride=self._stride, dilation=self._dilation)
        return sums.reshape(*x.shape[:-2], *sums.shape[-2:])

    def to_entries(self, y: Tensor) -> Tensor:
        planes = y.reshape(-1, 1, *y.shape[-2:])
        sums = functional.conv_transpose2d(planes, self._ones(y), stride=self._stride, dilation=self._dilation)
        return functional.pad(sums, [-margin for margin in self._margins]).reshape(*y.shape[:-2], *self._size)

    def _ones(self, like: Tensor) -> Tensor:
        return like.new_ones(1, 1, *self._kernel)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return what torch takes for both axes as a number or as one or two numbers."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
