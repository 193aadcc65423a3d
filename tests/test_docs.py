"""The documentation site covers the package; whether it builds without warnings, `make docs` says."""

import ast
import functools
import importlib
import inspect
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import hooks
import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

from transformer_spectrum.cli.main import COMMANDS, parser
from transformer_spectrum.cli.parameters import parameter_table
from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.study.running.spectra_rows import COLUMNS, FAMILY_COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
SHOWN = re.findall(r"^::: (transformer_spectrum\.[\w.]+)$", "\n".join(PAGES.values()), re.MULTILINE)
SOURCE = ROOT / "src/transformer_spectrum"
NAMES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if not path.stem.startswith("__") or path.parent != SOURCE
}
"""Every module and room, as it is called inside the package."""
FILES = (
    "csv",
    "html",
    "j2",
    "json",
    "lock",
    "md",
    "npz",
    "parquet",
    "png",
    "pt",
    "py",
    "safetensors",
    "toml",
    "yaml",
    "yml",
)
"""Ends of names with a point that are of files."""
NOT_OURS = {
    *("folder.resume", "model.forecast", "params.loss.q", "params.model_dump"),  # of what a function has at hand
    *("RLM._estimate_scale", "in_proj.weight", "torch.nn.utils.parametrize"),  # of other packages
    *("usermeta.panels", "usermeta.table"),  # of a template
    *("history.influence_cosine", "state.ema"),  # of what a program of the reader's has at hand
}
"""Names with a point that are no module's."""


def listed(entries):
    for entry in entries:
        (where,) = entry.values()
        yield from listed(where) if isinstance(where, list) else (where,)


def first_cells(text):
    """The names in the first column of tables."""
    return [name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in row[1:-1].split("`, `")]


def rooms():
    for path in (ROOT / "src/transformer_spectrum").iterdir():
        if (path.is_dir() or path.suffix == ".py") and not path.name.startswith("__"):
            yield path


def test_every_module_is_on_exactly_one_page():
    for path in (ROOT / "src").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if name != "transformer_spectrum" and not name.endswith("__main__"):
            assert sum(f"{name}.".startswith(f"{page}.") for page in SHOWN) == 1, name


def test_every_module_that_is_shown_is_there():
    for name in SHOWN:
        place = (ROOT / "src").joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def docstrings():
    """Module -> all its docstrings, those of attributes too."""
    for path in sorted(SOURCE.rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        strings = [
            node.value.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ]
        yield path.relative_to(ROOT).as_posix(), "\n".join(text for text in strings if isinstance(text, str))


def pages():
    """Page -> its prose, without what stands in blocks of code."""
    outside = {name: (ROOT / name).read_text() for name in ("CONTRIBUTING.md", "README.md")}
    for name, text in (outside | {f"docs/{name}": text for name, text in PAGES.items()}).items():
        yield name, re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def dotted(text):
    """What stands in backticks and is `module.name` or `room/module.name`, perhaps called, with points between."""
    for whole in re.findall(r"`([^`\n]+)`", text):
        if match := re.fullmatch(r"([A-Za-z_]\w*(?:/\w+)*(?:\.\w+)+)(?:\(.*\))?", whole):
            name = match[1].replace("/", ".")
            if name.rpartition(".")[2] not in FILES and name not in NOT_OURS:
                yield name


def has(holder, names):
    """Whether an object has an attribute of an attribute ..., or a field that only its instances have."""
    for name in names:
        assigned = getattr(inspect.unwrap(holder.__init__), "__code__", None)
        fields = {*getattr(holder, "model_fields", ()), *getattr(holder, "__annotations__", ())}
        if name in fields or (isinstance(holder, type) and assigned and name in assigned.co_names):
            return True
        if not hasattr(holder, name):
            return False
        holder = getattr(holder, name)
    return True


@functools.cache
def classes():
    """Name of a class -> the modules that define one."""
    homes = {}
    for name in NAMES:
        path = SOURCE.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name)
    return homes


def is_there(name):
    """Whether a dotted name is a parameter, a module or an attribute of one, whose rooms may be left out."""
    if any(f"{parameter}.".startswith(f"{name}.") for parameter in PARAMETERS):
        return True
    parts = name.split(".")
    places = [(f"{home}.{parts[0]}", parts[1:]) for home in classes().get(parts[0], ())]
    for length in range(len(parts), 0, -1):
        beginning = ".".join(parts[:length])
        places += [(module, parts[length:]) for module in NAMES if f".{module}".endswith(f".{beginning}")]
    for module, attributes in places:
        room, _, last = module.rpartition(".")
        of_class = last in classes() and module not in NAMES
        holder = importlib.import_module(f"transformer_spectrum.{room if of_class else module}")
        if has(holder, [last, *attributes] if of_class else attributes):
            return True
    return False


def test_every_name_in_a_docstring_is_of_something_that_is_there():
    names = {(place, name) for place, text in docstrings() for name in dotted(text)}
    assert len(names) > 100
    assert {(place, name) for place, name in names if not is_there(name)} == set()


def test_every_name_on_a_page_that_begins_with_a_module_or_class_of_ours_is_of_something_that_is_there():
    ours = {part for module in NAMES for part in module.split(".")} | {"transformer_spectrum", *classes()}
    names = {(page, name) for page, text in pages() for name in dotted(text) if name.split(".")[0] in ours}
    assert len(names) > 50
    prefix = "transformer_spectrum."
    assert {(page, name) for page, name in names if not is_there(name.removeprefix(prefix))} == set()


def test_every_module_that_is_named_as_a_file_is_there():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {
        (place, name)
        for place, text in [*docstrings(), *pages()]
        for name in re.findall(r"`([\w/]+\.py)`", text)
        if not name.endswith("NAME.py")
    }
    assert len(names) > 50
    assert {
        (place, name) for place, name in names if not any(f"/{path}".endswith(f"/{name}") for path in tracked)
    } == set()


def test_every_page_is_in_the_menu():
    assert {*PAGES, *hooks.OUTSIDE.values()} == set(listed(SETTINGS["nav"]))


def test_fonts_are_not_fetched_and_warnings_are_errors():
    assert SETTINGS["theme"]["font"] is False
    assert SETTINGS["strict"] is True


def test_every_page_that_is_generated_says_where_and_every_generator_is_used():
    marks = re.findall(hooks.MARK, "\n".join(PAGES.values()))
    assert sorted(marks) == sorted(hooks.GENERATED)


def test_the_table_has_every_parameter_with_its_committed_value(monkeypatch):
    monkeypatch.chdir(ROOT)
    table, values = hooks.GENERATED["parameters"](), yaml.safe_load((ROOT / "params.yaml").read_text())
    assert table == parameter_table()
    for name, field in PARAMETERS.items():
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith(f"| {field.description} |")
        value = values
        for key in name.split("."):
            value = value[key]
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert float(row.split("|")[2]) == value


def test_every_command_is_there_with_every_option():
    text = hooks.commands()
    whole = parser(*COMMANDS)
    for command in COMMANDS:
        page = text.split(f"\n## {command}\n")[1] if not text.startswith(f"## {command}\n") else text
        page = page.split("\n```\n")[0] if "\n## " not in page else page.split("\n## ")[0]
        assert f"$ transformer-spectrum {command} --help" in page
        (commands,) = (action for action in whole._actions if action.dest == "command")
        for action in commands.choices[command]._actions:
            assert all(option in page for option in action.option_strings), (command, action.option_strings)


def test_every_path_named_in_the_tree_is_there():
    paths = [
        path
        for row in re.findall(r"^\| (`.*?) \|", PAGES["reference/tree.md"], re.M)
        for path in row[1:-1].split("`, `")
    ]
    assert len(paths) > 15
    for path in paths:
        assert (ROOT / path).exists(), path


def test_every_folder_that_git_has_is_in_the_tree():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {path.split("/")[0] for path in tracked.splitlines() if "/" in path} - {".dvc", "data"}
    for folder in folders:
        assert re.search(rf"`{re.escape(folder)}/", PAGES["reference/tree.md"]), folder


def test_every_room_and_stage_is_in_the_tree():
    tree = hooks.rooms() + hooks.stages()
    for path in rooms():
        assert f"\n## {path.name}\n" in tree, path.name
        for inner in path.iterdir() if path.is_dir() else ():
            if inner.suffix == ".py" and not inner.name.startswith("__"):
                assert f"| `{inner.name}` |" in tree, inner
    for path in (ROOT / "stages").glob("*.py"):
        assert f"| `stages/{path.name}` |" in tree


def test_the_rooms_stand_in_the_order_of_the_layers():
    order = re.findall(r"^## ([\w.]+)$", hooks.rooms(), re.MULTILINE)
    assert order[0] == "cli"
    assert order[-1] == "runtime"
    assert len(order) == len(list(rooms())) == 17
    architecture = PAGES["architecture.md"].split("## The rooms")[1].split("\n## ")[0]
    assert [
        name for row in re.findall(r"^\| (`.*?) \|", architecture, re.M) for name in row[1:-1].split("`, `")
    ] == order


def test_every_file_that_a_run_is_said_to_write_is_an_output_of_a_stage():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    outputs = [path for stage in stages for output in stage["outs"] for path in output]
    files = first_cells(PAGES["reference/files.md"])
    assert len(files) == 15
    for path in files:
        place = path.replace("*", "adam")
        assert any(f"{place}/".startswith(f"{output}/") for output in outputs), path
    for path in outputs:
        if path.startswith("metrics/spectra"):
            assert path in files


def test_every_parameter_that_a_page_sets_is_one():
    text = "\n".join([*PAGES.values(), (ROOT / "README.md").read_text()])
    names = re.findall(r"(?:-S|--set) '?([a-z_.\d]+)=", text)
    assert len(names) > 15
    assert set(names) <= set(PARAMETERS)


def test_the_first_run_says_how_long_the_committed_trainings_are():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    lengths = "Adam {adam[epochs]} epochs, ES {es[generations]} generations of {es[popsize]}, "
    lengths += "GA {ga[generations]} of {ga[popsize]}"
    assert lengths.format(**params) in PAGES["tutorials/first_run.md"]


def test_the_page_of_sweeps_has_every_column_of_its_tables():
    text = PAGES["howto/sweep.md"].split("## Columns")[1].split("\n## ")[0]
    assert set(first_cells(text)) == {*COLUMNS, *FAMILY_COLUMNS}


def test_every_stage_is_in_the_graph():
    graph = ElementTree.parse(DOCS / "assets/pipeline.svg")
    words = {"".join(text.itertext()) for text in graph.iter("{http://www.w3.org/2000/svg}text")}
    stages = re.findall(r"^  ([a-z-]+):\n    desc", (ROOT / "dvc.yaml").read_text(), re.MULTILINE)
    assert len(stages) == 9
    assert set(stages) <= words


@pytest.mark.parametrize("name", ["pipeline", "architecture"])
def test_a_diagram_brings_its_own_ground_and_asks_for_nothing(name):
    text = (DOCS / f"assets/{name}.svg").read_text()
    ElementTree.fromstring(text)
    assert "<desc>" in text
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []


@pytest.fixture(scope="module")
def small_site(tmp_path_factory):
    """Two pages under the site's own settings, without the API, which takes long."""
    root = tmp_path_factory.mktemp("site")
    (root / "docs/assets").mkdir(parents=True)
    (root / "docs/index.md").write_text("# First\n\n<!-- generated: question -->\n\n<!-- generated: answer -->\n")
    elsewhere = "![A run](../plots/overview.png)\n\n[A study](../studies/report/index.md)\n"
    (root / "docs/second.md").write_text(
        "# Second\n\n    --mutation-stdev X     of the mutation\n\nA zebra.\n\n" + elsewhere
    )
    linked = ["findings.md", "committed_run.md"]
    for name in linked:
        (root / "docs" / name).write_text("# Linked to\n")
    for path in (DOCS / "assets").iterdir():
        (root / "docs/assets" / path.name).write_bytes(path.read_bytes())
    settings = {
        **SETTINGS,
        "nav": ["index.md", "second.md", *linked, *hooks.OUTSIDE.values()],
        "plugins": [plugin for plugin in SETTINGS["plugins"] if isinstance(plugin, str)],
        "hooks": [str(DOCS / "hooks.py")],
    }
    (root / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    build(load_config(str(root / "mkdocs.yml")))
    return root / "site"


def test_pictures_of_the_run_and_of_the_study_come_along_and_the_first_page_shows_the_answer(small_site):
    pictures = list((ROOT / "plots").glob("*.png"))
    assert len(pictures) >= 6
    for path in pictures:
        assert (small_site / "plots" / path.name).read_bytes() == path.read_bytes()
    assert 'src="plots/overview.png"' in (small_site / "second.html").read_text()
    answer = (small_site / "studies/report/answer.png").read_bytes()
    assert answer == (ROOT / "studies/report/answer.png").read_bytes()
    assert 'src="studies/report/answer.png"' in (small_site / "index.html").read_text()
    assert (small_site / "studies/report/index.html").is_file()
    assert 'href="studies/report/index.html"' in (small_site / "second.html").read_text()
    assert all((ROOT / "plots" / name).exists() for name in re.findall(r"plots/(\w+\.png)", PAGES["index.md"]))


def test_no_page_fetches_anything_from_the_network(small_site):
    for path in small_site.rglob("*.html"):
        assert re.findall(r"<(?:script|link|img|iframe)[^>]*https?://[^>]*>", path.read_text()) == []


def test_the_search_finds_a_page_that_is_opened_as_a_file(browser, small_site):
    with browser.open(small_site / "index.html") as page:
        for typed in ("zebra", "--mutation-stdev", "mutation -"):
            page.driver.click("input.md-search__input")
            page.driver.fill("input.md-search__input", "")
            page.driver.type("input.md-search__input", typed)
            page.driver.locator(".md-search-result__item a[href*='second.html']").first.wait_for()
        page.driver.locator(".md-search-result__item a").first.click()
        page.driver.wait_for_url("**/second.html*")
        assert page.requests == []
        assert page.errors == []
        assert page.overflow() == 0
