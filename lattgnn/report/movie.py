"""A quench as a movie."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lattgnn.errors import InputError, MissingExtraError
from lattgnn.files import atomic_file
from lattgnn.lattice import Lattice
from lattgnn.report.quench_plots import draw_field, order_scale
from lattgnn.report.style import STYLE


def write_movie(
    path: str | Path,
    fields: Float[np.ndarray, "n_frames n_sites"],
    lattice: Lattice,
    times: Float[np.ndarray, "n_frames"],
    fps: int = 12,
    label: str = r"local order $\phi_i$",
) -> Path:
    """Write snapshots as a movie, on the color scale of the last one.

    Args:
        path: File to write, .mp4 or .gif.
        fields: One scalar per site in each frame, such as `local_order`.
        lattice: A lattice in two dimensions.
        times: Time of each frame, shown above it.
        fps: Frames per second.
        label: Label of the color bar.

    Returns:
        The path.

    Raises:
        InputError: If the path has another suffix.
        MissingExtraError: If imageio is not installed.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise InputError(f"path must end in .mp4 or .gif, got {path.name!r}. Use quench.mp4.")
    try:
        from imageio.v2 import get_writer  # imported here because it is optional
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a movie needs imageio. Install it with: pip install 'lattgnn[movie]'"
        ) from error
    gif = {"duration": 1000 / fps, "loop": 0}
    settings: dict[str, Any] = gif if path.suffix == ".gif" else {"fps": fps, "macro_block_size": 2}
    movie: Any
    with (
        mpl.rc_context(STYLE),
        atomic_file(path) as temporary,
        get_writer(temporary, **settings) as movie,
    ):
        figure = Figure(figsize=(4.4, 4.0), dpi=160, layout="constrained")
        canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
        mesh = draw_field(axes, fields[0], lattice, order_scale(fields[-1]))
        shape = np.shape(mesh.get_array())  # pyright: ignore[reportArgumentType, reportCallIssue]
        figure.colorbar(mesh, ax=axes, label=label, pad=0.02, extend="both")
        for values, t in zip(fields, times, strict=True):
            mesh.set_array(values.reshape(shape))
            axes.set_title(rf"$t={t:.1f}$")
            canvas.draw()
            movie.append_data(np.asarray(canvas.buffer_rgba())[..., :3])
    return path
