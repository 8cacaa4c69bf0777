"""The documentation is true: its code runs and prints what the pages say, and its links lead on.

Each page is run from top to bottom in a temporary folder of its own:

- Python blocks are executed in one namespace per page.
- `lattgnn` commands of shell blocks run in this process, in the order of the page.
- A block with a caption, and an included example, is written to the file that the caption names.
- After `<!-- output -->` a text block must equal what the block before it printed; `...` stands
  for anything.
- After `<!-- parsed only -->` commands take too long, or concern the machine. Those of `lattgnn`
  are parsed by their verb, `make` targets and scripts must exist, and the rest is left alone.
"""

import doctest
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from lattgnn import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
SLOW = {"quickstart", "production", "spins", "vector_fields", "training"}
SLOW |= {"own_hamiltonian", "own_network", "own_data", "audit", "campaigns", "magnetic_terms"}
OUTPUT, PARSED = "<!-- output -->", "<!-- parsed only -->"
FENCE = re.compile(r"^```(\{[\w-]+\})? *(.*)$")


@dataclass
class Block:
    """One fenced block of a page."""

    language: str
    line: int
    mark: str = ""
    caption: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a Markdown page; options of a directive are not part of the text."""
    block, before = None, ""
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if block is None and (match := FENCE.match(line)):
            directive, argument = match[1], match[2]
            is_code = directive in (None, "{code-block}", "{code-cell}", "{literalinclude}")
            block = Block(argument if is_code else "", number, before)
            if directive == "{literalinclude}":
                block.language, block.caption = "file", Path(argument).name
                block.lines = (page.parent / argument).read_text().splitlines()
            in_options = directive is not None
        elif block is not None and line == "```":
            yield block
            block = None
        elif block is not None and in_options and line.startswith(":"):
            if line.startswith(":caption:"):
                block.caption = line.removeprefix(":caption:").strip().strip("`")
        elif block is not None and block.language != "file":
            in_options = in_options and not line
            if line or block.lines:
                block.lines.append(line)
        before = line.strip() or before
    assert block is None, f"{page.name}: a block is not closed"


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell block, without comments; a backslash joins lines."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            yield words


class PageRunner:
    """Runs the blocks of one page in order."""

    def __init__(self, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page, self.folder, self.monkeypatch = page, folder, monkeypatch
        self.names: dict = {"__name__": "__main__"}
        self.printed = io.StringIO()
        for name in ("configs", "scripts", "Makefile"):
            (folder / name).symlink_to(ROOT / name)

    def run(self) -> None:
        for block in blocks(self.page):
            if block.mark != OUTPUT:
                self.printed = io.StringIO()
            if block.caption:
                (self.folder / block.caption).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / block.caption).write_text(block.text)
            elif block.language in ("python", "ipython3"):
                source = re.sub(r"^%.*$", "", block.text, flags=re.MULTILINE)
                filename = f"{self.page.name}:{block.line}"
                code = compile("\n" * block.line + source, filename, "exec")
                with redirect_stdout(self.printed):
                    exec(code, self.names)
            elif block.language == "bash":
                self.shell(block)
            elif block.language == "yaml":
                check_class_paths(yaml.safe_load(block.text))
            elif block.mark == OUTPUT:
                self.compare(block)
            else:
                known = ("text", "toml", "", "cpp")
                assert block.language in known, f"{self.page.name}:{block.line}: {block.language}"

    def shell(self, block: Block) -> None:
        for words in commands(block.text):
            where = f"{self.page.name}:{block.line}: {' '.join(words)}"
            if block.mark == PARSED:
                check_command(words, where)
            elif words[0] == "lattgnn":
                with redirect_stdout(self.printed):
                    assert cli.main(words[1:]) == 0, where
            elif words == ["export", "PYTHONPATH=."]:
                self.monkeypatch.syspath_prepend(str(self.folder))
            else:
                raise AssertionError(f"{where}: mark the block with {PARSED}")

    def compare(self, block: Block) -> None:
        got = self.printed.getvalue()
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output(block.text, got, flags)
        assert same, f"{self.page.name}:{block.line}: the output is\n{got}"


def check_command(words: list[str], where: str) -> None:
    """A command that is not run: what can be known about it without running it."""
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        targets = [word for word in arguments if "=" not in word]
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets), where
    elif program == "lattgnn":
        check_verb(arguments, where)
    elif program.startswith("python") and arguments[0].startswith("scripts/"):
        source = (ROOT / arguments[0]).read_text()
        for option in re.findall(r"--([\w-]+)", " ".join(arguments[1:])):
            assert re.search(rf"\b{option}\b", source), f"{where}: no option {option}"


def check_verb(arguments: list[str], where: str) -> None:
    """Parse a `lattgnn` command without running it."""
    with_print_config = {"generate", "fit", "validate", "test", "predict", "simulate", "analyze"}
    ask = "--print_config" if arguments[0] in with_print_config else "--help"
    said = io.StringIO()
    with redirect_stdout(said), pytest.raises(SystemExit) as exit_:
        cli.main([*arguments, ask])
    assert exit_.value.code in (0, None), where
    if ask == "--help":
        # The help shows an object as one option, without its class_path and init_args.
        options = {
            re.split(r"=|\.class_path|\.init_args", word)[0]
            for word in arguments
            if word.startswith("--")
        }
        assert all(option in said.getvalue() for option in options), where


def check_class_paths(config) -> None:
    """Every `class_path` of ours names a class or function that takes the `init_args` beside it."""
    import importlib
    import inspect

    if isinstance(config, list):
        for item in config:
            check_class_paths(item)
    if not isinstance(config, dict):
        return
    module, _, name = str(config.get("class_path", "")).rpartition(".")
    if module.startswith("lattgnn"):
        target = getattr(importlib.import_module(module), name)
        unknown = set(config.get("init_args", {})) - set(inspect.signature(target).parameters)
        assert not unknown, f"{config['class_path']} does not take {unknown}"
    for value in config.values():
        check_class_paths(value)


def page_parameters() -> list:
    return [
        pytest.param(page, id=page.stem, marks=pytest.mark.slow if page.stem in SLOW else ())
        for page in PAGES
    ]


@pytest.mark.parametrize("page", page_parameters())
@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # the configuration is written before
def test_every_block_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    modules = set(sys.modules)
    try:
        PageRunner(page, tmp_path, monkeypatch).run()
    finally:
        for name in set(sys.modules) - modules:  # modules of this page's own files
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


def test_the_tester_notices_what_is_wrong(tmp_path, monkeypatch):
    wrong = {
        "python": "```python\nassert 1 == 2\n```\n",
        "verb": f"{PARSED}\n\n```bash\nlattgnn analyze --outt=x runs/x\n```\n",
        "target": f"{PARSED}\n\n```bash\nmake nothing\n```\n",
        "output": f"```python\nprint(1)\n```\n\n{OUTPUT}\n\n```text\n2\n```\n",
        "yaml": "```yaml\n{class_path: lattgnn.lattice.square, init_args: {sizes: 3}}\n```\n",
        "unmarked": "```bash\nmake test\n```\n",
    }
    for name, text in wrong.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "page.md").write_text(text)
        with pytest.raises(AssertionError):
            PageRunner(folder / "page.md", folder, monkeypatch).run()


def test_the_readme_is_short():
    words = (ROOT / "README.md").read_text().split()
    assert len(words) < 1100
    text = (ROOT / "README.md").read_text()
    assert "make quickstart" in text and "make test" in text


def test_the_layers_drawn_are_the_layers_kept():
    """The picture of docs/architecture.md, line by line, is the import-linter contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    (drawn,) = (
        block for block in blocks(DOCS / "architecture.md") if block.mark == "<!-- layers -->"
    )
    names = [sorted(re.findall(r"\w+", line)) for line in drawn.lines]
    assert names == [sorted(re.findall(r"\w+", layer)) for layer in layers]


def test_every_page_is_linked():
    """Relative links of README and docs lead to files that exist."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_package_is_in_the_reference():
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    described = set(re.findall(r"automodule:: ([\w.]+)", text))
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "lattgnn").rglob("__init__.py")
        if "__all__" in path.read_text()
    }
    assert packages <= described
