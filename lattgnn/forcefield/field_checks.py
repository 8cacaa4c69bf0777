"""What a force field refuses before it computes."""

from torch import Tensor

from lattgnn.errors import InputError, InputTypeError


def check_tensor(field: object) -> None:
    """Refuse an array of another library, which would fail in a place that says less."""
    if not isinstance(field, Tensor):
        raise InputTypeError(
            f"field must be a torch tensor, got {type(field).__name__}. Use torch.as_tensor(field)."
        )


def check_out(field: Tensor, out: Tensor) -> None:
    """Refuse an `out` that is not like the field: compiled code writes to its address."""
    same = (out.shape, out.dtype, out.device) == (field.shape, field.dtype, field.device)
    if not same or not out.is_contiguous():
        raise InputError(
            f"out must be a contiguous {list(field.shape)} tensor of {field.dtype} on "
            f"{field.device}, got {list(out.shape)} of {out.dtype} on {out.device}. "
            "Use torch.empty_like(field)."
        )
