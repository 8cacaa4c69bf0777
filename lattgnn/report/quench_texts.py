"""Headings and captions of the pictures of a quench report."""

MEAN = "Points and lines are means over replicas; bars and bands are standard errors."
DOMAINS = {
    "checkerboard": (
        "Local order of the first replica, ½ s_i (φ_i − mean of φ over the nearest neighbors of "
        "i). Red and blue are the two checkerboards; domain walls are pale."
    ),
    "uniform": "Field of the first replica minus its mean.",
    "wave": "Field of the first replica minus its mean.",
    "spins": "Spins of the first replica.",
}
VECTOR = (
    "Of a vector field, the component along the axis that carries most of the final order is shown."
)
SPIN_COLORS = (
    "The hue is the direction in the plane, as in the key; spins along +z are white, spins along "
    "−z black."
)
GROWTH = (
    "A growth exponent is given only if the data show a straight line in ln L against ln t. The "
    "window is the longest late one, before the finite size matters, in which the local slope is "
    "constant within its error: at least 5 frames over half a decade of time and 3 independent "
    "replicas, a drift of the slope that is inside its 99 % interval around zero, and known well "
    "enough to exclude a change by a third of the exponent or by half of that of a logarithm."
)
TEXTS = {
    "domain_length": (
        "Length of the domains",
        "From C(r): the first distance at which the correlation of the pattern has fallen to "
        "{fraction:g} of C(0). From S(q): 2π divided by the mean distance from the ordering "
        "wavevector, weighted with S(q), within π/2 of it in inverse bond lengths. The second is "
        "a period and not a diameter, so it is several times larger. Frames in which the pattern "
        "is not present (share below ½) have no length.\n\n"
        + MEAN
        + " Lines are power laws in the windows that they span; brackets give the {level:.0%} "
        "confidence interval of the exponent. The dashed line has the slope ½ of domain walls "
        "driven by their curvature.",
    ),
    "local_slope": (
        "Local slope",
        "Slope of ln⟨L⟩ against ln t within half a decade around each time; bars are {level:.0%} "
        "confidence intervals from a jackknife over replicas. Neighboring points share frames. A "
        "growth exponent exists where this curve is flat: lines and boxes are the fitted exponents "
        "with their intervals, in their windows. The dashed line is ½, the slope of domain walls "
        "driven by their curvature.",
    ),
    "correlation": (
        "Correlation of the order",
        "Left: C(r)/C(0) at several times, with standard errors over replicas. Right: the same "
        "against r/L(t), with L from C(r). Where the curves coincide, the domain pattern is "
        "statistically the same up to its length scale. The dotted line is C(r)/C(0) = "
        "{fraction:g}.",
    ),
    "structure_factor": (
        "Structure factor",
        "S(q), mean over replicas, in one Brillouin zone around the ordering wavevector, on a "
        "logarithmic scale.",
    ),
    "structure_cut": (
        "Structure factor along lines of high symmetry",
        "S(q) at the wavevectors of the lattice nearest to the path, averaged over the paths that "
        "are equivalent by symmetry. Gaps are values that are zero up to rounding. " + MEAN,
    ),
    "order": (
        "Order over time",
        "Modulus of the order parameter m of the whole lattice, which is small while domains "
        "compete; share of the pattern in the fluctuations; correlation of nearest neighbors, "
        "which follows the local order. " + MEAN,
    ),
    "energy": (
        "Energy over time",
        "Energy per site. " + MEAN + " The potential energy is that of electrons and classical "
        "field; a force field that predicts forces alone has none, and it is not shown.",
    ),
    "temperature": (
        "Thermalization",
        "Kinetic temperature T = ⟨p²⟩/m of each component, mean over sites and replicas. Bars are "
        "the sampling error T √(2/(N n)) of N momenta in n replicas, which are independent "
        "Gaussian variables in equilibrium. The line is the temperature of the bath. Momenta "
        "thermalize within a few 1/γ; domains keep growing for far longer, so the system as a "
        "whole is not in equilibrium.",
    ),
    "spin_movie": ("Movie", "Spins of the first replica. " + SPIN_COLORS),
    "spins": ("Spins", "Spins of the first replica. " + SPIN_COLORS),
    "chirality": (
        "Scalar chirality",
        "S_1·(S_2×S_3) of the first replica, mean over the triangles of each cell, with the "
        "corners counterclockwise. Red and blue are domains of opposite chirality.",
    ),
    "charge_density": (
        "Topological charge",
        "Topological charge of each cell of the first replica: the solid angle that the spins of "
        "its triangles enclose, over 4π. Its sum over the lattice is an integer.",
    ),
    "alignment": (
        "Alignment of neighbors",
        "Mean of S_i·S_j over the nearest neighbors of each site, first replica. Red is "
        "ferromagnetic, blue antiferromagnetic; where both appear, two phases coexist.",
    ),
    "alignment_histogram": (
        "Histogram of the alignment",
        "Share of sites by the mean of S_i·S_j over their nearest neighbors, mean over replicas. "
        "Two peaks, at 1 and −1, are two phases.",
    ),
    "alignment_shares": (
        "Shares of the phases over time",
        "Share of sites whose mean of S_i·S_j over neighbors is above 1/2 (parallel), below −1/2 "
        "(antiparallel), or neither, as in boundaries. " + MEAN,
    ),
    "magnetic_order": (
        "Magnetic order over time",
        "Length of the mean spin; modulus of the mean scalar chirality, and root of its mean "
        "square, which stays large where domains of both signs cancel in the mean; vector "
        "chirality, which is 1 for the 120° order. " + MEAN,
    ),
    "waves": (
        "Waves over time",
        "Share of Σ|S|² in each arm of the star of wavevectors that is strongest in the last "
        "frame: one arm for a single-Q order, equal arms for a multiple-Q order. The share of the "
        "mean spin, |m|², is a curve of its own. " + MEAN,
    ),
    "topological_charge": (
        "Topological charge over time",
        "Topological charge of the whole lattice. " + MEAN,
    ),
    "chirality_length": (
        "Length of chirality domains",
        "The first distance at which the correlation of the scalar chirality has fallen to one "
        "half. Frames without chiral order have no length. " + MEAN,
    ),
}


def picture_text(name: str, kind: str, fraction: float, level: float = 0.95) -> tuple[str, str]:
    """Heading and text of a picture.

    Args:
        name: Name of the picture, as `analysis_figures` returns it, or "movie".
        kind: Kind of the order, or "spins" where the spins themselves are drawn.
        fraction: Value of C(r)/C(0) that defines the domain length.
        level: Confidence level of the intervals.

    Returns:
        The heading and the text.
    """
    if name == "snapshots":
        return "Domains", f"{DOMAINS[kind]} {VECTOR}"
    if name == "movie":
        return "Movie", f"{DOMAINS[kind]} The color scale is that of the last frame."
    heading, text = TEXTS[name]
    return heading, text.format(fraction=fraction, level=level)
