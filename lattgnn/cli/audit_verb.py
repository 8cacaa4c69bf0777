"""The verb audit: how wrong the forces of a run are."""

from collections.abc import Sequence
from pathlib import Path

from lattgnn.audit import audit_run
from lattgnn.cli.physics_verbs import beside, model_parser, parse
from lattgnn.dynamics import Trajectory


def main(argv: Sequence[str]) -> None:
    """`lattgnn audit`: print the errors of a run, and write them with the labels of the patches.

    Args:
        argv: The verb and its options.
    """
    parser = model_parser(
        "audit",
        "Measure how wrong the forces of a run are: solve patches of its frames by a better "
        "solver, and report the errors by window of time with confidence intervals. Rerun the "
        "command to resume after an interruption.",
    )
    parser.add_argument("run", type=str, help="directory written by `lattgnn simulate`")
    parser.add_argument("--out", type=str | None, help="folder of the audit; default: RUN-audit")
    parser.add_function_arguments(audit_run, skip={"run", "out", "trust"})
    parser.set_defaults({"progress": True})

    options = parse(parser, argv)
    path, out = Path(options.pop("run")), options.pop("out")
    run = Trajectory.open(path)
    out = beside(path, "audit") if out is None else Path(out)
    audit = audit_run(run, out, **options)

    # matplotlib only where there is something to draw
    from lattgnn.report import audit_table, write_audit_report

    write_audit_report(audit, run, out)
    print(audit_table(audit))
    print(out / "report.html")
