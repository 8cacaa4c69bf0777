"""Pictures that a person looks at, and one self-contained page that holds them."""

from lattgnn.report.audit_report import audit_plot, audit_table, write_audit_report
from lattgnn.report.campaign_arrays import campaign_dataset
from lattgnn.report.campaign_report import write_campaign_report
from lattgnn.report.comparison import write_comparison
from lattgnn.report.ensemble import Ensemble, group_runs
from lattgnn.report.fit_report import (
    FitRun,
    compare_fits,
    comparison_plot,
    fit_curves,
    progress_plot,
    read_fit,
    write_fit_report,
)
from lattgnn.report.growth_plots import length_plot, slope_plot
from lattgnn.report.movie import write_movie, write_spin_movie
from lattgnn.report.page import Movie, Section, Table, write_report
from lattgnn.report.plots import (
    dynamics_comparison,
    energy_errors,
    loss_curves,
    parity_plot,
    time_series,
    window_errors,
)
from lattgnn.report.quench_arrays import quench_dataset
from lattgnn.report.quench_figures import analysis_figures
from lattgnn.report.quench_numbers import quench_metrics
from lattgnn.report.quench_plots import correlation_plot, snapshot_panel
from lattgnn.report.quench_report import analyze_trajectory, quench_sections, write_quench_report
from lattgnn.report.scan_plots import ScanCurve, scan_plot
from lattgnn.report.spin_plots import spin_colors, spin_panel
from lattgnn.report.spin_report import analyze_spin_runs, spin_arrays, spin_figures
from lattgnn.report.structure_plots import cut_plot, structure_factor_map
from lattgnn.report.style import save_figures
from lattgnn.report.thermal_plots import energy_plot, temperature_plot

__all__ = [
    "Ensemble",
    "FitRun",
    "Movie",
    "ScanCurve",
    "Section",
    "Table",
    "analysis_figures",
    "analyze_spin_runs",
    "analyze_trajectory",
    "audit_plot",
    "audit_table",
    "campaign_dataset",
    "compare_fits",
    "comparison_plot",
    "correlation_plot",
    "cut_plot",
    "dynamics_comparison",
    "energy_errors",
    "energy_plot",
    "fit_curves",
    "group_runs",
    "length_plot",
    "loss_curves",
    "parity_plot",
    "progress_plot",
    "quench_dataset",
    "quench_metrics",
    "quench_sections",
    "read_fit",
    "save_figures",
    "scan_plot",
    "slope_plot",
    "snapshot_panel",
    "spin_arrays",
    "spin_colors",
    "spin_figures",
    "spin_panel",
    "structure_factor_map",
    "temperature_plot",
    "time_series",
    "window_errors",
    "write_audit_report",
    "write_campaign_report",
    "write_comparison",
    "write_fit_report",
    "write_movie",
    "write_quench_report",
    "write_report",
    "write_spin_movie",
]
