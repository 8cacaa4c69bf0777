"""A quench as a movie."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lattgnn.errors import InputError, MissingExtraError
from lattgnn.files import atomic_file
from lattgnn.lattice import Lattice
from lattgnn.report.quench_plots import draw_field, order_scale
from lattgnn.report.spin_plots import draw_color_key, draw_spins, recolor
from lattgnn.report.style import STYLE

SUFFIXES = (".webp", ".gif", ".mp4")


def write_movie(
    path: str | Path,
    fields: Float[np.ndarray, "n_frames n_sites"],
    lattice: Lattice,
    times: Float[np.ndarray, "n_frames"],
    fps: int = 12,
    label: str = r"local order $\phi_i$",
    dpi: int = 160,
) -> Path:
    """Write snapshots as a movie, on the color scale of the last one.

    Args:
        path: File to write, .webp, .gif or .mp4. The last needs the extra `movie`.
        fields: One scalar per site in each frame, such as `local_order`.
        lattice: A lattice in two dimensions.
        times: Time of each frame, shown above it.
        fps: Frames per second.
        label: Label of the color bar.
        dpi: Pixels per inch; a frame is 4.4 inches wide.

    Returns:
        The path.

    Raises:
        InputError: If the path has another suffix.
        MissingExtraError: If the path ends in .mp4 and imageio is not installed.
    """
    return _write(path, _frames(fields, lattice, times, label, dpi), fps)


def write_spin_movie(
    path: str | Path,
    spins: Float[np.ndarray, "n_frames n_sites 3"],
    lattice: Lattice,
    times: Float[np.ndarray, "n_frames"],
    fps: int = 12,
    dpi: int = 160,
) -> Path:
    """Write spins as a movie, in the colors of `spin_colors`.

    Args:
        path: File to write, .webp, .gif or .mp4. The last needs the extra `movie`.
        spins: Spins in each frame.
        lattice: A lattice in two dimensions.
        times: Time of each frame, shown above it.
        fps: Frames per second.
        dpi: Pixels per inch; a frame is 4.4 inches wide.

    Returns:
        The path.

    Raises:
        InputError: If the path has another suffix.
        MissingExtraError: If the path ends in .mp4 and imageio is not installed.
    """
    return _write(path, _spin_frames(spins, lattice, times, dpi), fps)


def _write(
    path: str | Path, frames: Iterator[UInt8[np.ndarray, "height width 3"]], fps: int
) -> Path:
    """Write frames in the format of the suffix."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"path must end in .webp, .gif or .mp4, got {path.name!r}. Use .webp.")
    write = _write_mp4 if path.suffix == ".mp4" else _write_animation
    with mpl.rc_context(STYLE), atomic_file(path) as temporary:
        write(temporary, frames, fps)
    return path


def _spin_frames(
    spins: Float[np.ndarray, "n_frames n_sites 3"],
    lattice: Lattice,
    times: Float[np.ndarray, "n_frames"],
    dpi: int,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Draw one frame after the other into one figure."""
    figure = Figure(figsize=(4.4, 4.0), dpi=dpi, layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=[1.0, 0.2])
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot(grid[0, 0])
    drawn = draw_spins(axes, spins[0], lattice)
    draw_color_key(figure.add_subplot(grid[0, 1]))
    for values, t in zip(spins, times, strict=True):
        recolor(drawn, values, lattice)
        axes.set_title(rf"$t={t:.1f}$")
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _frames(
    fields: Float[np.ndarray, "n_frames n_sites"],
    lattice: Lattice,
    times: Float[np.ndarray, "n_frames"],
    label: str,
    dpi: int,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Draw one frame after the other into one figure."""
    figure = Figure(figsize=(4.4, 4.0), dpi=dpi, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    mesh = draw_field(axes, fields[0], lattice, order_scale(fields[-1]))
    shape = np.shape(mesh.get_array())  # pyright: ignore[reportArgumentType, reportCallIssue]
    figure.colorbar(mesh, ax=axes, label=label, pad=0.02, extend="both")
    for values, t in zip(fields, times, strict=True):
        mesh.set_array(values.reshape(shape))
        axes.set_title(rf"$t={t:.1f}$")
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _write_animation(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    """Animated WebP or GIF, which browsers play without a player."""
    images = [Image.fromarray(frame) for frame in frames]
    # `method` 0 to 6 trades time for size; `quality` 70 leaves thin domain walls sharp.
    settings: dict[str, Any] = {"quality": 70, "method": 2} if path.suffix == ".webp" else {}
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / fps),
        loop=0,
        **settings,
    )


def _write_mp4(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    try:
        from imageio.v2 import get_writer  # imported here because it is optional
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "an .mp4 movie needs imageio. Install it with: pip install 'lattgnn[movie]', or use "
            ".webp"
        ) from error
    movie: Any
    with get_writer(path, fps=fps, macro_block_size=2) as movie:
        for frame in frames:
            movie.append_data(frame)
