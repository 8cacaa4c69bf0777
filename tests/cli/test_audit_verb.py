"""`lattgnn audit` on the runs of `lattgnn simulate`: results on disk, and refusals in one line."""

import json
import shutil
from pathlib import Path

import pytest

from lattgnn.cli import main

QUENCH = Path(__file__).parents[2] / "configs/simulate/quench.yaml"
RUN = [
    *("simulate", f"--config={QUENCH}", "--force_field.checkpoint=holstein-square-small"),
    *("--lattice.init_args.extent=[10,10]", "--save.init_args.n_frames=4", "--n_steps=5"),
    *("--progress=false", "--out=run"),
]
FEW = ["--n_patches=2", "--windows=2", "--core=2", "--halo=3", "--n_checks=1", "--progress=false"]

HOT = ["--solver=ExactDiagonalization", "--solver.init_args.kT=3", "--solver.init_args.mu=0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with the run of a shipped network."""
    folder = tmp_path_factory.mktemp("audit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(RUN) == 0
    return folder / "run"


@pytest.fixture
def audit(run, tmp_path, monkeypatch, capsys):
    """Runs the verb in a folder with a copy of the run; the exit code and what it printed."""
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def call(*options):
        code = main(["audit", *options])
        return code, capsys.readouterr()

    return call


@pytest.mark.slow
def test_a_run_is_audited_with_table_json_pictures_page_and_labels(audit, tmp_path):
    code, printed = audit("run", *FEW)
    assert code == 0
    lines = printed.out.splitlines()
    assert lines[0].split()[:3] == ["steps", "patches", "rms"]
    assert [line.split()[0] for line in lines[1:4]] == ["0–2", "5–5", "all"]
    assert lines[-1] == "run-audit/report.html"
    names = {path.name for path in (tmp_path / "run-audit").iterdir()}
    assert names >= {"audit.json", "metrics.json", "errors.png", "errors.pdf", "report.html"}
    metrics = json.loads((tmp_path / "run-audit/metrics.json").read_text())
    assert metrics["total"]["n_patches"] == 4
    assert 1e-6 < metrics["total"]["mse"]["value"] < 1e-2
    again = audit("run", *FEW, "--checkpoint=holstein-square-small")
    assert again[1].out == printed.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "does not exist"),
        (["."], "is not a run of"),
        (["run", "--n_patches=0"], "n_patches"),
        (["run", "--windows=x"], "windows"),
        (["run", "--halo=-1"], "halo"),
        (["run", "--solver=lattgnn.solvers.ExactDiagonalization"], "kT"),
        (
            [
                "run",
                '--solver={"class_path": "ExactDiagonalization", "init_args": {"kT": 3, "mu": 0}}',
            ],
            "electrons of the run",
        ),
        (["run", "--checkpoint=nowhere.ckpt"], "checkpoint"),
        (["run", "--patches=3"], "patches"),
        ([], "run"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(audit, tmp_path, capsys, options, message):
    code, printed = -1, None
    try:
        code, printed = audit(*options)
    except SystemExit as stop:
        code, printed = stop.code, capsys.readouterr()
    assert code == 2
    assert len(printed.err.splitlines()) == 1
    assert message in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_without_frames_and_one_whose_checkpoint_is_gone_are_refused(audit, tmp_path):
    record = tmp_path / "run/provenance.json"
    found = json.loads(record.read_text())
    found["checkpoint"] |= {"path": "/nowhere/best.ckpt", "name": "nowhere/best.ckpt"}
    record.write_text(json.dumps(found))
    code, printed = audit("run", *FEW)
    assert code == 2
    assert "--checkpoint" in printed.err
    assert not (tmp_path / "run-audit").exists()
    shutil.rmtree(tmp_path / "run/step/c")
    code, printed = audit("run", *FEW)
    assert code == 2
    assert "no whole frame" in printed.err
