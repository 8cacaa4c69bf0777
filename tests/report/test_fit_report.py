"""The report of a fit and the comparison of fits, from the files of a run."""

import csv
import json

import pytest
import yaml

from lattgnn.cli import main
from lattgnn.report import compare_fits, read_fit, write_fit_report


def write_run(folder, mse, resumed=False):
    """The files of a fit of three epochs, with a validation after the second and the third."""
    config = {"model": {"lr": 0.01, "net": {"class_path": "lattgnn.nn.OrbitNetwork"}}}
    first = ["epoch,lr,train_loss,val/all/mse,seconds,samples_per_s"]
    first += ["0,0.01,3.0,,1.0,100", f"1,,,{mse},,", "1,0.005,2.0,,2.0,120"]
    second = [first[0], f"2,,,{mse / 2},,", "2,0.0,1.0,,3.0,110"]
    logs = [first, second] if resumed else [first + second[1:]]
    for number, lines in enumerate(logs):
        (folder / f"logs/version_{number}").mkdir(parents=True)
        (folder / f"logs/version_{number}/metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    record = {"parameters": 1234, "epochs": 3, "steps": 30, "cpu_minutes": 0.1, "seconds": 3.0}
    (folder / "fit.json").write_text(json.dumps(record))
    errors = {"test/all/mse": mse, "test/all/mae": 0.1, "test/quench/mse": mse}
    (folder / "test-data.json").write_text(json.dumps(errors))
    return folder


@pytest.mark.parametrize("resumed", [False, True])
def test_rows_of_an_epoch_are_joined_over_all_logs(tmp_path, resumed):
    run = read_fit(write_run(tmp_path / "a", 0.4, resumed))
    assert list(run.epochs) == [1, 2, 3] and list(run.column("train_loss")) == [3.0, 2.0, 1.0]
    assert list(run.column("val/all/mse")[1:]) == [0.4, 0.2]


def test_the_errors_of_the_test_are_no_epoch(tmp_path):
    folder = write_run(tmp_path / "a", 0.4)
    (log,) = (folder / "logs").glob("version_*/metrics.csv")
    header, *rows = log.read_text().splitlines()
    # Lightning logs the test as the epoch after the last one.
    empty = "," * header.count(",")
    log.write_text("\n".join([f"{header},test/all/mse", *(f"{r}," for r in rows), f"{empty},0.3"]))
    text = log.read_text().splitlines()
    column = header.split(",").index("epoch")
    last = text[-1].split(",")
    last[column] = "3"
    log.write_text("\n".join([*text[:-1], ",".join(last)]))
    assert list(read_fit(folder).epochs) == [1, 2, 3]


def test_the_report_shows_curves_errors_and_configuration(tmp_path):
    page = write_fit_report(write_run(tmp_path / "a", 0.4)).read_text(encoding="utf-8")
    for text in ("Errors during the fit", "Learning rate and speed", "Test errors", "model.lr"):
        assert text in page
    assert page.count("data:image/png") == 2
    for name in ("curves.png", "curves.pdf", "progress.png", "progress.pdf"):
        assert (tmp_path / "a" / name).stat().st_size > 1000


def test_a_comparison_is_a_table_and_a_picture(tmp_path, capsys):
    runs = [str(write_run(tmp_path / name, mse)) for name, mse in (("a", 0.4), ("b", 0.1))]
    assert main(["compare", *runs, f"--out={tmp_path / 'both'}"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split()[:3] == ["a", "OrbitNetwork", "1234"]
    with (tmp_path / "both/comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation MSE"]) for row in rows] == [0.2, 0.05]
    assert [float(row["test MSE"]) for row in rows] == [0.4, 0.1]
    assert {path.name for path in (tmp_path / "both").iterdir()} == {
        *("report.html", "comparison.csv", "curves.png", "curves.pdf")
    }


def test_without_a_folder_nothing_is_written(tmp_path):
    runs = [write_run(tmp_path / name, 0.4) for name in "abcdefgh"]
    assert compare_fits(runs).count("\n") == 8
    assert len(list(tmp_path.iterdir())) == 8


def test_what_is_no_fit_is_one_line(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "run must be the folder of a fit" in message and message.count("\n") == 1
