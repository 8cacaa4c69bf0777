"""Noise: Philox against the known answers of its authors, normal numbers, and what they do not
depend on.
"""

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from lattgnn.dynamics import noise, philox

# kat_vectors of Random123 (Salmon et al.): counter, key, words of philox4x32-10
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def test_known_answers(implementation) -> None:
    for counter, key, words in KNOWN_ANSWERS:
        if implementation == "torch":
            found = philox.philox(
                torch.tensor(counter).view(4, 1, 1), key[0] | key[1] << 32
            ).flatten()
        else:
            compiled = philox.kernels()
            assert compiled is not None
            found = torch.empty(4, dtype=torch.uint32)
            arrays = [torch.tensor(numbers, dtype=torch.uint32) for numbers in (counter, key)]
            compiled.langevin_philox(*(array.data_ptr() for array in arrays), found.data_ptr())
        assert found.tolist() == words


def test_numbers_are_box_and_muller_of_the_words(implementation) -> None:
    """The counter as the docstring has it, and both functions against extended precision."""
    seed, step, purpose, replica = 2**40 + 5, 2**33 + 7, 3, 11
    counter = torch.tensor([0, replica, 7, 2 | purpose << 24]).repeat(1000, 1).T.contiguous()
    counter[0] = torch.arange(1000)
    words = (philox.philox(counter, seed).numpy().astype(np.longdouble) + 0.5) / 2**32
    radius, angle = np.sqrt(-2 * np.log(words[0::2])), 2 * np.longdouble(np.pi) * words[1::2]
    angle += 2 * np.longdouble(1.2246467991473532e-16) * words[1::2]  # π beyond float64
    expected = (
        np.stack((radius * np.cos(angle), radius * np.sin(angle)), -1).transpose(1, 0, 2).ravel()
    )
    found = noise(seed, step, (1, 4000), purpose, replica)[0]
    assert np.abs(found.numpy() - expected).max() < 3e-15


def test_numbers_are_normal(implementation) -> None:
    numbers = noise(7, 3, (4, 50_000)).flatten().numpy()
    n = len(numbers)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((numbers**power).mean() - expected) < 4 * (variance / n) ** 0.5
    assert scipy.stats.kstest(numbers, "norm").pvalue > 0.01
    assert (np.abs(numbers) > 4).mean() == pytest.approx(6.33e-5, abs=4 * (6.33e-5 / n) ** 0.5)
    assert np.abs(numbers).max() < 6.77


def test_streams_and_neighbours_are_independent(implementation) -> None:
    n = 100_000
    first = noise(7, 3, (1, n))
    others = {
        "seed": noise(8, 3, (1, n)),
        "high half of the seed": noise(7 + 2**32, 3, (1, n)),
        "step": noise(7, 4, (1, n)),
        "high part of the step": noise(7, 3 + 2**32, (1, n)),
        "purpose": noise(7, 3, (1, n), purpose=1),
        "replica": noise(7, 3, (1, n), first_replica=1),
        "far sites": noise(7, 3, (1, n), first_site=n),
    }
    others |= {f"neighbour {shift}": first.roll(shift, -1) for shift in (1, 2, 3, 4, 5, 8)}
    for name, other in others.items():
        for one, two in (
            (first, other),
            (first.square() - 1, other.square() - 1),
            (first, other.square()),
        ):
            correlation = (one * two).mean() / (one.std() * two.std())
            assert abs(correlation) < 4 / n**0.5, name


def test_a_number_knows_neither_batch_nor_piece(implementation) -> None:
    torch.manual_seed(1)
    whole = noise(9, 1, (3, 3000, 3))
    torch.manual_seed(2)
    for first_site in (*range(13), 170, 171, 341, 1999):
        for n_sites in (1, 2, 3, 5, 8, 171, 1000):
            for replicas in (slice(0, 1), slice(1, 3)):
                expected = whole[replicas, first_site : first_site + n_sites]
                found = noise(
                    9, 1, expected.shape, first_replica=replicas.start, first_site=first_site
                )
                assert torch.equal(found, expected)
    assert torch.equal(noise(9, 1, (3, 9000)), whole.flatten(1))


def test_chunks_of_pytorch_are_seamless(monkeypatch) -> None:
    monkeypatch.setattr(philox, "kernels", lambda: None)
    whole = noise(9, 1, (3, 1000))
    for size in (5, 12, 100, 1 << 20):
        monkeypatch.setitem(philox._CHUNK, "cpu", size)
        assert torch.equal(noise(9, 1, (3, 1000)), whole)


def test_regression(implementation) -> None:
    # regression values: trajectories made with one version must be reproducible with the next
    expected = [
        [0.99113767993038582, -0.92466258766553489, -0.61760895945919059, -0.48206858748717962]
    ]
    assert torch.allclose(
        noise(0, 0, (1, 4)), torch.tensor(expected, dtype=torch.float64), atol=1e-14, rtol=0
    )


def test_no_numbers_at_all(implementation) -> None:
    assert noise(0, 0, (0, 5)).shape == (0, 5) and noise(0, 0, (2, 0, 3)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"seed must be an integer in \[0, 2\*\*64\), got -1"),
        ({"seed": 2**64}, "seed must be"),
        ({"step": -1}, "step must be"),
        ({"step": 2**56}, r"step must be an integer in \[0, 2\*\*56\)"),
        ({"purpose": 256}, "purpose must be"),
        ({"first_replica": 2**32 - 1}, "first_replica must be an integer in"),
        ({"first_site": -1}, "first_site must be"),
        ({"first_site": 2**34 - 3}, "first_site must be an integer in"),
    ],
)
def test_what_does_not_fit_the_counter_is_refused(arguments, message) -> None:
    fitting: dict[str, Any] = {
        "seed": 2**64 - 1,
        "step": 2**56 - 1,
        "purpose": 255,
        "first_replica": 2**32 - 2,
    }
    fitting |= {"shape": (2, 4), "first_site": 2**34 - 4}
    assert torch.isfinite(noise(**fitting)).all()
    with pytest.raises(ValueError, match=message):
        noise(**(fitting | arguments))
