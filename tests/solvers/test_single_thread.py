from threading import Barrier, Thread

import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_limits

from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, domain, ed, single_thread


def n_blas_threads() -> set[int]:
    blas = ThreadpoolController().select(user_api="blas")
    return {library.get_num_threads() for library in blas.lib_controllers}


@pytest.fixture
def two_threads():
    with threadpool_limits(2):
        yield
        assert n_blas_threads() == {2}


@pytest.mark.parametrize(
    "solver", [ExactDiagonalization(0.1, 0.0), DomainDiagonalization(0.1, 0.0, 2, 1)]
)
def test_solvers_diagonalize_on_one_thread_and_restore_the_number(
    solver, two_threads, monkeypatch, rng
):
    seen, eigh = [], ed.eigh

    def watched(matrix):
        seen.append(n_blas_threads())
        return eigh(matrix)

    monkeypatch.setattr(ed, "eigh", watched)
    monkeypatch.setattr(domain, "eigh", watched)
    model = Holstein(square(6))
    solver.solve(model, torch.randn(36, generator=rng))
    assert seen and all(numbers == {1} for numbers in seen)


def test_the_last_of_two_threads_restores_the_number(two_threads):
    both_inside, first_left = Barrier(2), Barrier(2)
    after_the_first = []

    def leaves_last():
        with single_thread.single_thread(100):
            both_inside.wait()
            first_left.wait()
            after_the_first.append(n_blas_threads())

    thread = Thread(target=leaves_last)
    thread.start()
    with single_thread.single_thread(100):
        both_inside.wait()
    first_left.wait()
    thread.join()
    assert after_the_first == [{1}]


def test_threads_are_kept_for_large_matrices(two_threads):
    with single_thread.single_thread(single_thread.MOST_STATES + 1):
        assert n_blas_threads() == {2}


def test_an_error_inside_restores_the_number(two_threads):
    with pytest.raises(ZeroDivisionError), single_thread.single_thread(100):
        _ = 1 / 0
