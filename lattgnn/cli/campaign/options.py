"""The options of the verb campaign."""

from typing import Any

from lattgnn.cli.campaign.stages import STAGES
from lattgnn.cli.parser import Parser
from lattgnn.cli.yaml_files import checked_load


def campaign_parser() -> Parser:
    """Make the parser of `lattgnn campaign`.

    Returns:
        The parser.
    """
    parser = Parser(
        prog="lattgnn campaign",
        description="Run simulations, fits or whole chains for a grid of parameters and seeds, on "
        "all cores or on the dask cluster of DASK_SCHEDULER_ADDRESS. Rerun the command to continue "
        "after an interruption. Dotted options of a stage override its configuration, such as "
        "--simulate.n_steps=100.",
    )
    parser.add_argument("--config", action="config", help="YAML file of the campaign")
    for verb in STAGES:
        parser.add_argument(
            f"--{verb}",
            type=_plain,
            default={"movie": "none"} if verb == "analyze" else None,
            help=f"options of `lattgnn {verb}`: a file, or a mapping that may name files under the "
            "key config; null leaves this stage out",
        )
    _add_points(parser)
    parser.add_argument("--out", type=str, required=True, help="folder of the campaign")
    parser.add_argument(
        "--n_workers", type=int | None, help="local processes of one thread; default: one per core"
    )
    parser.add_argument(
        "--modules",
        type=list[str],
        default=[],
        help="modules of your own that every task imports, as with --import",
    )
    parser.add_argument("--title", type=str, default="Campaign", help="title of the report")
    parser.add_argument("--progress", type=bool, default=True, help="show the table of tasks")
    parser.add_argument(
        "--dry_run", action="store_true", help="check the options of all tasks and list the tasks"
    )
    return parser


def _add_points(parser: Parser) -> None:
    """Add the points of the campaign: a scan or a search, and the seeds of each point."""
    parser.add_argument(
        "--parameters",
        type=_plain,
        help="name of a scanned parameter: the dotted option, or list of options, that it sets",
    )
    parser.add_argument(
        "--scan",
        type=_plain,
        default={},
        help="parameter or dotted option: its values. The points are the product; those of several "
        "such mappings in a list are joined. A key such as 'g, kT' has pairs of values.",
    )
    parser.add_argument(
        "--search",
        type=_plain,
        help="instead of a scan, let optuna choose the points: keys metric, space (a parameter or "
        "dotted option: a list of values, or a range low, high with log or step), n_trials, "
        "direction, seed",
    )
    parser.add_argument("--n_seeds", type=int, default=1, help="number of seeds of each point")
    parser.add_argument(
        "--seed_options",
        type=list[str] | None,
        help="options that a seed sets; default: the seed of the last stage, such as "
        "simulate.initial.seed",
    )


def _plain(value: Any) -> Any:
    """A value of the command line or of a file, without a look at the classes that it names.

    The parser of each verb does that for its own options.
    """
    return checked_load(value) if isinstance(value, str) else value
