"""How the code lies: rooms on floors, and no import that runs from a lower floor to a higher one."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# from the ground up; a module belongs to the room with the longest name that it begins with
FLOORS = (
    ("utils.console", "utils.files", "utils.provenance"),
    ("utils.errors",),
    ("utils.images", "utils.options", "utils.prompts", "utils.sphere"),
    ("utils.vocabulary",),
    ("utils.cameras", "utils.gpano", "utils.models", "utils.views"),
    ("utils.depth", "utils.run"),
    ("utils.animation", "utils.scoring"),
    ("utils.report", "utils.submission"),
    ("guidance.schedule", "guidance.synchronization", "guidance.windows"),
    ("guidance.control", "guidance.networks", "guidance.shared_options"),
    ("guidance.latent_options",),
    ("guidance.base_model",),
    ("guidance.app", "guidance.projection"),
    ("guidance.ambiguous_image_app", "guidance.panorama_app", "guidance.unknown_options", "guidance.wide_image_app"),
    ("guidance.ambiguous_image_model", "guidance.panorama_model", "guidance.pipeline", "guidance.wide_image_model"),
    ("guidance",),
    ("guidance.command_line", "guidance.sampling"),
    ("page.form", "page.maker"),
    ("page.show",),
    ("page.layout",),
    ("page.server",),
    ("app", "eval", "main", "submit"),
    ("training",),
    ("benchmarks",),
)
PACKAGES = ("utils", "page")  # of which nothing stands in the package itself
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Module name -> file, of all code but the tests."""
    found = {}
    rooms = ("utils", "guidance", "page", "training", "benchmarks")
    for path in [*ROOT.glob("*.py"), *(path for name in rooms for path in (ROOT / name).rglob("*.py"))]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Every module of the project that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        yield from (name for name in names if name in MODULES)


def room_of(module: str) -> str:
    parts = module.split(".")
    return next(name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in FLOOR)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name not in PACKAGES))
def test_imports_run_downwards(module: str) -> None:
    here = room_of(module)
    for target in imports(MODULES[module]):
        there = room_of(target)
        assert there == here or FLOOR[there] < FLOOR[here], f"{module} (floor {FLOOR[here]}) imports {target}"


def test_no_circle() -> None:
    graph = {name: set(imports(path)) - {name} for name, path in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_every_module_has_a_room() -> None:
    assert all(room_of(name) for name in MODULES if name not in PACKAGES)
    assert all(any(name == room or name.startswith(f"{room}.") for name in MODULES) for room in FLOOR)
