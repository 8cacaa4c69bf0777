"""Commands of lattgnn in this process, and the line that a mistake gets."""

from pathlib import Path

from lattgnn import cli

CONFIGS = Path(__file__).parents[1] / "configs"
QUENCH = [
    "simulate",
    f"--config={CONFIGS / 'simulate/quench.yaml'}",
    "--lattice.init_args.extent=[6,6]",
    "--n_steps=20",
    "--save=lattgnn.dynamics.Regular",
    "--save.init_args.every=10",
    "--progress=false",
]


def run(*arguments: str) -> int:
    """The exit code of `lattgnn ARGUMENTS`."""
    try:
        return cli.main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


def refused(capsys, *arguments: str) -> str:
    """The one line that a mistake gets."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert ": error: " in err
    return err
