"""Methods of factorization in messages."""

from __future__ import annotations

from typing import Any

from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument
from striate_service.servicers import reading
from striate_service.techniques.methods import MethodChoice

_BY_NUMBER: dict[int, MethodChoice] = {
    messages.FACTORIZATION_METHOD_UNSPECIFIED: "auto",
    messages.FACTORIZATION_METHOD_AUTO: "auto",
    messages.FACTORIZATION_METHOD_NMF: "nmf",
    messages.FACTORIZATION_METHOD_SEMI_NMF: "semi-nmf",
    messages.FACTORIZATION_METHOD_PCA: "pca",
    messages.FACTORIZATION_METHOD_FAST_ICA: "fast-ica",
    messages.FACTORIZATION_METHOD_K_MEANS: "k-means",
    messages.FACTORIZATION_METHOD_DICTIONARY_LEARNING: "dictionary-learning",
}
_NUMBERS: dict[str, int] = {method: number for number, method in _BY_NUMBER.items()}


def read_method(number: int, rectify: bool, within: str = "") -> MethodChoice:
    """Return the method that a request asks for.

    Args:
        rectify: whether the request counts negative activations as 0.
        within: the path of the message that has both fields, as errors name them.

    Raises:
        InvalidArgument: there is no such method, or it does not go with `rectify`.
    """
    method = reading.choice(number, _BY_NUMBER, f"{within}method", messages.FactorizationMethod)
    if rectify and method not in ("auto", "nmf"):
        raise InvalidArgument(f"{within}rectify", f"goes with NMF, and not with {method}, which takes negative values.")
    return method


def method_message(method: str) -> Any:
    """Return a method's number; 0 for one that a later version of the server has stored."""
    return _NUMBERS.get(method, messages.FACTORIZATION_METHOD_UNSPECIFIED)
