"""Matrix factorization: which neurons are active together.

Notation, in all files of this package: X [M, C] >= 0 is M positions by C channels; W [M, K] >= 0 says how strongly each
of K groups is present at each position; H [K, C] >= 0 is each group's direction in the space of channels. We minimize

    1/2 ||X - W H||_F^2    over W >= 0, H >= 0

Semi-NMF (Ding, Li and Jordan 2010) is for signed X, and leaves H free: it minimizes over W >= 0 alone. `least` tells a
function which of both it is: H >= least, which is 0 or -inf. A batch of B problems of one shape adds a first dimension
B to each array.
"""

from striate_service.techniques.factorization.choice import Choice, choose_components, find_factors
from striate_service.techniques.factorization.factorize import factorize
from striate_service.techniques.factorization.problem import Factorization
from striate_service.techniques.factorization.projection import project
from striate_service.techniques.factorization.scikit_learn import TooFewDimensions
from striate_service.techniques.factorization.start import nndsvd
from striate_service.techniques.factorization.streaming import Basis, Progress, factorize_batches
from striate_service.techniques.factorization.warm_up import compile_kernels

__all__ = [
    "Basis",
    "Choice",
    "Factorization",
    "Progress",
    "TooFewDimensions",
    "choose_components",
    "compile_kernels",
    "factorize",
    "factorize_batches",
    "find_factors",
    "nndsvd",
    "project",
]
