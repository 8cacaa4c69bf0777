"""Pictures that a person looks at, and one self-contained page that holds them."""

from lattgnn.report.fit_report import (
    FitRun,
    compare_fits,
    comparison_plot,
    fit_curves,
    progress_plot,
    read_fit,
    write_fit_report,
)
from lattgnn.report.movie import write_movie
from lattgnn.report.page import Section, Table, write_report
from lattgnn.report.plots import (
    dynamics_comparison,
    energy_errors,
    loss_curves,
    parity_plot,
    time_series,
    window_errors,
)
from lattgnn.report.quench_plots import (
    correlation_plot,
    length_plot,
    snapshot_panel,
    structure_factor_map,
)
from lattgnn.report.quench_report import (
    analysis_figures,
    analyze_trajectory,
    quench_metrics,
    quench_sections,
    write_quench_report,
)

__all__ = [
    "FitRun",
    "Section",
    "Table",
    "analysis_figures",
    "analyze_trajectory",
    "correlation_plot",
    "dynamics_comparison",
    "energy_errors",
    "length_plot",
    "loss_curves",
    "parity_plot",
    "quench_metrics",
    "quench_sections",
    "snapshot_panel",
    "structure_factor_map",
    "time_series",
    "compare_fits",
    "comparison_plot",
    "fit_curves",
    "progress_plot",
    "read_fit",
    "write_fit_report",
    "window_errors",
    "write_movie",
    "write_quench_report",
    "write_report",
]
