"""Layers that start as the released models start theirs; `pretrained.py` draws their weights.

transformers initializes the models of other packages module by module, each by its class and only where it holds
parameters itself: hence a class for each way to start.
"""

from torch import nn


class XavierLinear(nn.Linear):
    """Linear layer of a transformer, whose weights start Xavier-uniform."""


class ZeroBiasLinear(XavierLinear):
    """The same with a bias that starts at zero."""


class PackedLinear(ZeroBiasLinear):
    """One of the query, key and value projections, which the releases pack in one (3D, D) matrix.

    Xavier's bound follows the shape of that matrix.
    """


class XavierModule(nn.Module):
    """Module whose own parameters (not those of its children) are matrices that start Xavier-uniform."""


__all__ = ["PackedLinear", "XavierLinear", "XavierModule", "ZeroBiasLinear"]
