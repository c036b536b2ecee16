"""Results as pictures, pages and tables.

The results that can be shown, such as `Factorization`, are defined here and extend their data in `striate.results`, and
calls return them: so results know nothing of drawing, and yet `result.to_html()` is a plain method.
"""

from __future__ import annotations

from striate.results.shown import notebook_html
from striate.show import notebook
from striate.show.dictionaries import SemanticDictionary
from striate.show.drift import Drift
from striate.show.groups import Factorization, FactorizedLayers
from striate.show.html import page

__all__ = ["Drift", "Factorization", "FactorizedLayers", "SemanticDictionary", "notebook", "notebook_html", "page"]
