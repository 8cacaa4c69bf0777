"""Warnings that point at our own code are errors under pytest (pyproject.toml, filterwarnings)."""

import warnings

import pytest
import torch
from scipy.sparse import csr_array

from lattgnn.nn.sparse_map import SparseMap


def warn_from(module: str) -> None:
    warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, module=module, registry={})


def test_a_warning_at_our_own_code_is_an_error(monkeypatch):
    with pytest.raises(UserWarning, match="here"):
        warnings.warn("here", stacklevel=1)
    # a deprecated call inside the package: what torch or numpy says of it points there
    monkeypatch.setattr(
        torch, "sparse_csr_tensor", lambda *args, **kw: warnings.warn("csr", stacklevel=2)
    )
    with pytest.raises(UserWarning, match="csr"):
        SparseMap.from_scipy(csr_array([[1.0]]), torch.float64, torch.device("cpu"))


@pytest.mark.parametrize(
    "module", ["lattgnn", "lattgnn.nn.x", "tests.x", "scripts.x", "speed_report"]
)
def test_what_counts_as_our_own(module):
    with pytest.raises(DeprecationWarning):
        warn_from(module)


@pytest.mark.parametrize(
    "module",
    ["torch_geometric.data", "lightning.pytorch.cli", "torch", "lattgnn_of_another", "sys"],
)
def test_a_warning_at_another_package_is_not(module):
    with warnings.catch_warnings(record=True) as caught:
        warn_from(module)
    assert len(caught) == 1
