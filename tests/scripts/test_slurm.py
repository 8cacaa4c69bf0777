"""The job scripts of Slurm: their bodies run with stubs for the commands of a cluster."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "scripts/slurm").glob("*.sbatch"))
SLURM = {
    "SLURM_JOB_ID": "123",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_CPUS_PER_TASK": "3",
    "SLURM_ARRAY_TASK_ID": "5",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_SUBMIT_DIR": str(ROOT),
}
STUBS = {
    "srun": 'exec "$@"',
    "scontrol": 'echo "scontrol $*" >> calls; [ "$1" = show ] && echo node1 && echo node2; exit 0',
    "lattgnn": 'echo "lattgnn $*" >> calls; echo "$DASK_SCHEDULER_ADDRESS" >> address',
    "torchrun": 'echo "torchrun $*" >> calls',
    "dask": 'echo "dask $*" >> calls; echo $$ >> pids; exec sleep 600',
}
#: Saves for a moment when it is stopped, as a fit does.
SLOW = """
trap 'sleep 0.2; echo saved >> calls; exit 143' TERM
touch started
for _ in $(seq 12000); do sleep 0.05; done
"""


@pytest.fixture
def start(tmp_path):
    """Start a job script with stubs, which write their arguments to the file `calls`."""

    def begin(name: str, *arguments: str, **stubs: str) -> subprocess.Popen:
        for program, body in (STUBS | stubs).items():
            path = tmp_path / "bin" / program
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/bash\n{body}\n")
            path.chmod(0o755)
        environment = os.environ | SLURM
        environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        command = ["bash", str(ROOT / "scripts/slurm" / name), *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)

    return begin


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_every_job_is_requeued_and_keeps_its_log(job):
    text = job.read_text()
    assert "#SBATCH --requeue\n" in text and "#SBATCH --open-mode=append\n" in text
    assert "#SBATCH --signal=B:USR1@" in text and "run_and_requeue " in text
    assert subprocess.run(["bash", "-n", str(job)]).returncode == 0


def test_a_fit_gets_the_devices_and_nodes_of_the_job(start, tmp_path):
    assert start("fit.sbatch", "--config", "fit.yaml").wait(timeout=PATIENCE) == 0
    (call,) = calls(tmp_path)
    assert call == (
        "lattgnn fit --trainer.num_nodes=2 --trainer.devices=4 --trainer.strategy=ddp "
        "--trainer.accelerator=gpu --config fit.yaml"
    )


def test_each_task_of_an_array_has_its_seed_and_its_folder(start, tmp_path):
    job = start("simulate.sbatch", "quench.yaml", "runs", "--n_steps=3")
    assert job.wait(timeout=PATIENCE) == 0
    (call,) = calls(tmp_path)
    assert call == (
        "lattgnn simulate --config quench.yaml --threads=3 --initial.seed=5 --out=runs/seed-5 "
        "--n_steps=3"
    )


def test_a_large_lattice_has_a_process_for_each_gpu_of_each_node(start, tmp_path):
    job = start("simulate_large.sbatch", "--config", "quench.yaml", "--out", "runs/large")
    assert job.wait(timeout=PATIENCE) == 0
    assert calls(tmp_path)[-1] == (
        "torchrun --nnodes=2 --nproc-per-node=4 --rdzv-id=123 --rdzv-backend=c10d "
        "--rdzv-endpoint=node1:20123 -m lattgnn simulate --threads=1 --config quench.yaml "
        "--out runs/large"
    )


def test_a_campaign_has_a_scheduler_and_workers_which_end_with_it(start, tmp_path):
    waits = STUBS["lattgnn"] + "\nwhile [ $(grep -c dask calls) -lt 2 ]; do sleep 0.02; done"
    job = start("campaign.sbatch", "--config", "scan.yaml", lattgnn=waits)
    assert job.wait(timeout=PATIENCE) == 0
    made = calls(tmp_path)
    address = (tmp_path / "address").read_text().strip()
    assert "lattgnn campaign --config scan.yaml" in made
    assert any(c.startswith("dask scheduler --host") and "--port 20123" in c for c in made)
    assert any(c.startswith(f"dask worker {address} --nthreads 1") for c in made)
    for number in (tmp_path / "pids").read_text().split():
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{number}/stat").exists() and time.monotonic() < deadline:
            if Path(f"/proc/{number}/stat").read_text().split()[2] == "Z":
                break
            time.sleep(0.02)
        else:
            assert not Path(f"/proc/{number}").exists()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_that_is_stopped_waits_for_its_command_and_is_requeued(start, tmp_path, number):
    job = start("fit.sbatch", "--config", "fit.yaml", lattgnn=SLOW)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(number)
    assert job.wait(timeout=PATIENCE) == 143
    assert calls(tmp_path) == ["saved", "scontrol requeue 123"]


def test_a_job_that_fails_by_itself_is_not_requeued(start, tmp_path):
    assert start("fit.sbatch", lattgnn="exit 2").wait(timeout=PATIENCE) == 2
    assert not (tmp_path / "calls").exists()


@pytest.mark.slow
def test_a_campaign_runs_on_the_cluster_of_its_job(start, tmp_path, monkeypatch):
    small = [f"--config={ROOT / 'configs/campaign/quench_temperatures.yaml'}"]
    small += ["--simulate.lattice.init_args.extent=[8,8]", "--simulate.n_steps=4", "--n_seeds=1"]
    small += ["--scan={simulate.integrator.init_args.kT: [0.1, 0.2]}", "--analyze=null"]
    programs = {name: f'exec {sys.executable} -m {name} "$@"' for name in ("lattgnn", "dask")}
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    job = start("campaign.sbatch", *small, f"--out={tmp_path / 'out'}", **programs)
    assert job.wait(timeout=PATIENCE) == 0
    assert len(list(tmp_path.glob("out/simulate/*/seed-0/config.yaml"))) == 2
