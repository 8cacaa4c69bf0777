"""Sphinx configuration. `make docs` builds the site without network; a warning is an error."""

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import lattgnn  # noqa: E402

project = "lattgnn"
author = "the lattgnn authors"
copyright = "the lattgnn authors"
release = version = lattgnn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
# The benchmark tables are written by scripts and included in other pages.
exclude_patterns = ["_build", "benchmarks/*.md", "notebooks/*.py", "**/.ipynb_checkpoints"]
# Annotations name classes of torch, numpy and jaxtyping, which cannot be found without network.
nitpicky = False

# Pages are Markdown (MyST). Notebooks are shown with the outputs that are stored in them; the tests
# execute them. The symmetry page draws its figures when the site is built.
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_show_tb = True

# The reference is written from the docstrings. `x` in a docstring is code.
default_role = "code"
highlight_language = "text"  # formulas; Python blocks name their language
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_preprocess_types = False
napoleon_attr_annotations = False

html_theme = "furo"
html_title = f"lattgnn {release}"
# Code of 100 columns fits the page.
html_theme_options = {"light_css_variables": {"code-font-size": "0.75em"}}
html_static_path = ["_static"]
html_css_files = ["lattgnn.css"]
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp, .go"

SECTIONS = ("Args:", "Attributes:", "Returns:", "Yields:", "Raises:", "Reference:", "References:")
SECTIONS += ("Example:", "Examples:", "Note:")


def show_formulas(app, what, name, obj, options, lines):
    """Turn indented formulas of a docstring into literal blocks, so that they keep their lines."""
    if what == "module":  # the pages have their own introduction
        lines.clear()
        return
    shown = []
    in_section = in_doctest = False
    for number, line in enumerate(lines):
        before = lines[number - 1].strip() if number else ""
        in_doctest = bool(line.strip()) and (in_doctest or line.lstrip().startswith(">>>"))
        if line.strip() in SECTIONS:
            in_section = True
        elif line and not line.startswith(" "):
            in_section = False
        if line.startswith("    ") and not before and not in_section:
            previous = next((row for row in reversed(shown) if row.strip()), "")
            is_prose = previous and not previous.startswith((" ", "..", ">>>", "- ", "* "))
            if is_prose and not previous.endswith("::"):
                shown += ["::", ""]
        is_formula = line.startswith("    ") and not in_section
        shown.append(line if is_formula or in_doctest else plain_text(line))
    lines[:] = shown


def keep_sentences(app, what, name, obj, options, lines):
    """Undo napoleon where it reads "Shape of one field: ..." of a property as a type."""
    if what in ("property", "attribute", "data") and any(":type:" in line for line in lines):
        original = (inspect.getdoc(obj) or "").splitlines()
        if original and not any(line.strip() in SECTIONS for line in original):
            lines[:] = [plain_text(line) for line in original]


def plain_text(line):
    """Keep |x| and *x outside of backticks from being read as markup."""
    parts = re.split(r"(:math:`[^`]*`|`+[^`]*`+)", line)
    return "".join(re.sub(r"(?<!\\)([|*])", r"\\\1", p) if p[:1] not in "`:" else p for p in parts)


def mathml(node, as_block):
    """The formula of a node, with dots and fractions written as docutils knows them."""
    formula = node.astext().replace(r"\dots", r"\ldots")
    formula = re.sub(r"\\t?frac(\d)(\d)", r"\\tfrac{\1}{\2}", formula)
    return tex2mathml(formula, as_block=as_block)


def mathml_inline(self, node):
    """Write a formula as MathML, which browsers show without any script."""
    self.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def mathml_block(self, node):
    """Write a displayed formula as MathML."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(mathml(node, as_block=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def public_names():
    """Every public name of the package: those that a package lists in its `__all__`."""
    for module in pkgutil.walk_packages(lattgnn.__path__, "lattgnn."):
        if module.ispkg:
            package = importlib.import_module(module.name)
            for name in getattr(package, "__all__", []):
                yield f"{module.name}.{name}"


def check_reference(app, exception):
    """Warn about each public name that the reference leaves out; warnings are errors."""
    if exception is None and app.builder.name == "html":
        described = set(app.env.domains.python_domain.objects)
        for name in public_names():
            if name not in described:
                logging.getLogger(__name__).warning("%s is missing from docs/api", name)


def setup(app):
    """Register what this configuration adds to Sphinx."""
    app.connect("autodoc-process-docstring", show_formulas, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-docstring", keep_sentences, priority=600)
    app.connect("build-finished", check_reference)
    app.add_html_math_renderer("mathml", (mathml_inline, None), (mathml_block, None))
