"""What the documentation says exists: links and pictures, files, options, functions; and the README's Python runs."""

import ast
import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in ("docs", "data", "training", "benchmarks", "results")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)
README, EVAL, SUBMIT, APP = (ROOT / name for name in ("README.md", "eval.py", "submit.py", "app.py"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
OTHER_PROGRAMS = {"--num_processes", "--nproc-per-node", "--check"}  # accelerate, torchrun, ruff
FOLDERS = "benchmarks|data|docs|guidance|page|results|tests|training|utils"
PLACE = re.compile(rf"(?:{FOLDERS})/[\w./~*-]*")
RUN_BY_TESTS = "<!-- tests/test_docs.py runs this block -->\n```python\n"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", read(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


def code_spans(page: Path) -> Iterator[str]:
    """What stands between backticks, and the lines of fenced blocks."""
    yield from re.findall(r"`([^`\n]+)`", prose(page))
    for _, body in FENCE.findall(read(page)):
        yield from body.splitlines()


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "docs/options.md", "data/models/README.md", "training/README.md"} <= names


@every_page
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


@every_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    for span in code_spans(page):
        for place in PLACE.findall(span):
            made = place.startswith("results/") and not place.startswith("results/embedded")  # by the reader
            example = page.name == "CONTRIBUTING.md" and "transpose" in place
            assert made or example or list(ROOT.glob(place.rstrip("./"))), place


def test_the_readme_is_read_in_one_go() -> None:
    assert len(read(README).splitlines()) <= 150


# ---------------------------------------------------------------------------------------------- options


def options_of_main(capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    return set(OPTION.findall(capsys.readouterr().out)) - {"--help"}


def options_of_scripts(*scripts: Path) -> set[str]:
    """All that their ``add_argument`` is given."""
    calls = (node for script in scripts for node in ast.walk(ast.parse(read(script))) if isinstance(node, ast.Call))
    named = (call.args for call in calls if getattr(call.func, "attr", "") == "add_argument")
    return {one.value for args in named for one in args if isinstance(one, ast.Constant) and "--" in str(one.value)}


def test_every_benchmark_is_explained() -> None:
    page = read(ROOT / "docs" / "benchmarks.md")
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in read(path)]
    assert len(scripts) > 5 and [path.name for path in scripts if f"`{path.name}`" not in page] == []


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    explained = set(OPTION.findall(read(ROOT / "docs" / "options.md")))
    assert (options_of_main(capsys) | options_of_scripts(EVAL, SUBMIT)) - explained == set()


@every_page
def test_options_that_a_page_names_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripts = [EVAL, SUBMIT, APP, *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "training").rglob("*.py")]
    known = options_of_main(capsys) | options_of_scripts(*scripts) | OTHER_PROGRAMS | {"--help"}
    named = {option for span in code_spans(page) for option in OPTION.findall(span)}
    assert named - known == set()


# ---------------------------------------------------------------------------------------------- code


def definitions() -> set[str]:
    """Every class, function and method of ``guidance/`` and ``utils/``, methods as ``Class.method``."""
    names: set[str] = set()
    for path in (*(ROOT / "guidance").rglob("*.py"), *(ROOT / "utils").rglob("*.py")):
        for node in ast.parse(read(path)).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(node.name)
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return names


def test_formulas_name_functions_that_exist() -> None:
    rows = re.findall(r"^\| (?!formula|-).* \| (.*) \|$", section("The method, formula by formula"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([A-Za-z_.]+)`", row) if "/" not in name}
    assert len(rows) > 10 and len(named) > 10
    assert named - definitions() == set()


def section(heading: str) -> str:
    """The part of the README below a heading."""
    return read(README).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    """As a user's script: in a process of its own, with two steps a stage in place of all."""
    block = read(README).split(RUN_BY_TESTS)[1].split("```")[0]
    assert block.count('model="tiny")') == 1
    quick = block.replace('model="tiny")', 'model="tiny", num_inference_steps=2, stage2_num_inference_steps=2)')
    script = tmp_path / "readme.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{quick}print(state.step, preview.size)\n")
    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert any("letter_N" in line and line.endswith("(128, 128)") for line in lines)
    assert lines[-1].startswith("2 (")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readme.py"]  # it writes nothing


def test_scripts_find_the_projects_root() -> None:
    """``sys.path`` gets the folder above all packages, wherever a script was moved."""
    found = 0
    for script in (path for name in ("benchmarks", "training") for path in (ROOT / name).rglob("*.py")):
        for level in re.findall(r"sys\.path\.insert\(0, str\(Path\(__file__\).*parents\[(\d)\]", read(script)):
            assert script.parents[int(level)] == ROOT, script
            found += 1
    assert found > 10


# ---------------------------------------------------------------------------------------------- numbers


def test_letters_read_by_eye_are_counted_right() -> None:
    rows = csv.DictReader((ROOT / "benchmarks" / "results" / "letters_by_eye.csv").open(encoding="utf-8"))
    read_by_eye: dict[str, dict[str, bool]] = {}  # entry -> seed -> both views
    for row in rows:
        prompts = [row[field] for field in ("prompt", "prompt_of_the_other_view")][:: -1 if int(row["view"]) else 1]
        style = prompts[0].removesuffix(f" of the letter {prompts[0][-1]}")
        seeds = read_by_eye.setdefault(f"{prompts[0][-1]}/{prompts[1][-1]} {style}", {})
        seeds[row["seed"]] = seeds.get(row["seed"], True) and row["read_by_eye"] == "1"
    page = read(ROOT / "docs" / "embedded_models.md")
    both = [seen for seeds in read_by_eye.values() for seen in seeds.values()]
    assert f"In {sum(both)} of {len(both)} pictures" in page
    table = re.findall(r"\| ([A-Z]/[A-Z] [a-z ]+) \| (\d+)", page)
    assert {entry: int(count) for entry, count in table} == {
        entry: sum(seeds.values()) for entry, seeds in read_by_eye.items()
    }
    assert len(table) == 10


# ---------------------------------------------------------------------------------------------- make


def run_make(*argv: str) -> subprocess.CompletedProcess[str]:
    """What make would do, without doing it; the tests themselves may have been started by make."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(["make", "-n", *argv], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def older_python(tmp_path: Path) -> Path:
    """A stand-in for Python 3.10."""
    script = tmp_path / "python3.10"
    script.write_text('#!/bin/sh\ncase "$2" in *">= (3, 11)"*) echo False;; *) echo 3.10;; esac\n')
    script.chmod(0o755)
    return script


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@needs_make
def test_an_older_python_ends_make_with_one_sentence(older_python: Path, tmp_path: Path) -> None:
    for python, said in ((str(older_python), "3.10"), (str(tmp_path / "nothing"), "is no Python that runs")):
        for target in ("demo", "test"):
            run = run_make(target, f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
            assert run.returncode == 2 and not run.stdout
            assert run.stderr.count("\n") == 1 and said in run.stderr and "install Python 3.11 or newer" in run.stderr


@needs_make
def test_make_says_what_it_installs_before_it_does(tmp_path: Path) -> None:
    run = run_make("demo", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}")
    said, done = run.stdout.split(" -m venv ")
    sizes = re.findall(r"[\d.]+ GB", said)
    assert len(sizes) == 2 and "minutes" in said and "pip install" in done
    measured = read(ROOT / "benchmarks" / "results" / "environment.md")
    assert all(size in measured and size in read(README) for size in sizes)
