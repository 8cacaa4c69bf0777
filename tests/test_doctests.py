"""The examples in docstrings print what they say."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import lattgnn.analysis
import lattgnn.lattice
import lattgnn.spin_orders
import lattgnn.symmetry

PACKAGES = [lattgnn.analysis, lattgnn.lattice, lattgnn.spin_orders, lattgnn.symmetry]
MODULES = [
    f"{package.__name__}.{module.name}"
    for package in PACKAGES
    for module in pkgutil.iter_modules(package.__path__)
]
# Covered by the example in the docstring of their module.
SHARED = {"chain", "square", "triangular", "honeycomb", "kagome", "lieb", "cubic"}
SHARED |= {"staggered_square", "brick_wall", "shastry_sutherland"}
SHARED |= {"trivial", "pseudoscalar", "pseudovector", "vector", "axial", "regular"}
FUNCTIONS = [
    getattr(package, name)
    for package in (lattgnn.lattice, lattgnn.spin_orders, lattgnn.symmetry)
    for name in package.__all__
    if name not in SHARED and not inspect.isclass(getattr(package, name))
]


class Finder(doctest.DocTestFinder):
    """Finds functions that the shape checks of the tests have wrapped, too."""

    def _from_module(self, module, object):
        return getattr(object, "__module__", None) == module.__name__


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    runner = doctest.DocTestRunner()
    for example in Finder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(example)
    assert runner.failures == 0


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_public_functions_have_an_example(function):
    found = Finder().find(function, module=inspect.getmodule(function))
    assert sum(len(example.examples) for example in found) > 0
