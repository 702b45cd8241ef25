"""The viewer of spheres, as pages hold it: Pannellum, which lies in ``vendor/`` as released, and what shows it."""

from pathlib import Path

HERE = Path(__file__).parent
VENDOR = HERE / "vendor"


def viewer_style() -> str:
    """Return the viewer's style sheet."""
    return _read(VENDOR / "pannellum.css")


def viewer_script() -> str:
    """Return the viewer's script, under its licence; it defines ``lookAround``."""
    notice = _read(VENDOR / "pannellum.LICENSE")
    return f"/*\n{notice}*/\n{_read(VENDOR / 'pannellum.js')}\n{_read(HERE / 'sphere.js')}"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
