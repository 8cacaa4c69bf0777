import pytest
import torch
from scipy.sparse import csr_array

from lattgnn.nn import SparseMap


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3)])
def test_maps_without_rows_or_columns(shape, dtype):
    sparse = SparseMap.from_scipy(csr_array(shape), dtype, torch.device("cpu"))
    x = torch.randn(shape[1], 2, 5, dtype=dtype, requires_grad=True)
    y = sparse(x)
    assert y.shape == (shape[0], 2, 5) and not y.any()
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape and not x.grad.any()
