"""A force field that works for some calls only."""


class Stopped(Exception):
    """A kill, as far as one process can play it."""


class Mortal:
    """A force field that raises at its n-th call, or answers what `at_the_end` says."""

    def __init__(self, force_field, n_calls: int, at_the_end=None) -> None:
        self.force_field, self.left, self.at_the_end = force_field, n_calls, at_the_end
        self.lattice, self.field_shape = force_field.lattice, force_field.field_shape

    def __call__(self, field):
        self.left -= 1
        if self.left >= 0:
            return self.force_field(field)
        if self.at_the_end is None:
            raise Stopped
        return self.at_the_end(field)
