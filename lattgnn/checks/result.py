"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """What one check has found.

    Attributes:
        name: The property that is checked, such as "hermitian".
        violation: Size of the violation; 0 if the property holds exactly.
        bound: Largest violation that rounding and the method of the check explain.
        message: One sentence: what was compared, or for a failure what is wrong and what to do.
    """

    name: str
    violation: float
    bound: float
    message: str

    @property
    def passed(self) -> bool:
        """Whether the violation is within the bound; a violation of NaN is not."""
        return self.violation <= self.bound
