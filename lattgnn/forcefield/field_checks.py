"""What a force field refuses before it computes."""

from torch import Tensor

from lattgnn.errors import InputError, InputTypeError
from lattgnn.hamiltonians import Hamiltonian


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


def check_without_waiting(hamiltonian: Hamiltonian, field: Tensor) -> None:
    """Refuse a field of another shape, and on the CPU one that is not finite.

    On a GPU, checking the values would make the host wait for the device at every call. `simulate`
    checks them there, and for other callers NaN in the field gives NaN forces.
    """
    if field.device.type == "cpu":
        hamiltonian.check_field(field)
    else:
        hamiltonian.check_shape(field)


def check_same_electrons(learned: Hamiltonian, given: Hamiltonian) -> None:
    """Refuse a model whose electrons are not those that a network has learned."""
    if not given.has_same_electrons(learned):
        free = ", ".join(learned.classical_parameters) or "nothing"
        raise InputError(
            "hamiltonian must have the electrons that the network learned, those of a "
            f"{type(learned).__name__}, got another {type(given).__name__}. Change at most {free}."
        )
