"""Diffusion synchronisation. Importing this loads no torch: models are imported when weights are to be loaded.

From Python: ``load_pipeline("ambiguous_image", model="tiny")``, see :class:`guidance.pipeline.Pipeline`.
"""

import functools
import importlib
from typing import TYPE_CHECKING, Any

from utils.errors import UserError

if TYPE_CHECKING:
    from guidance.app import App
    from guidance.pipeline import Pipeline

APPS = {  # name -> module and class; the only table of apps
    "wide_image": "wide_image_app:WideImageApp",
    "ambiguous_image": "ambiguous_image_app:AmbiguousImageApp",
    "panorama": "panorama_app:PanoramaApp",
}


@functools.cache
def get_app(name: str) -> "App":
    """Return an app by its name; ``eval.py`` writes some in the plural, which serves as well.

    Raises:
        UserError: there is no such app.
    """
    known = name if name in APPS else name.removesuffix("s")
    if known not in APPS:
        raise UserError(f"--app {name!r} is not known: give one of {', '.join(APPS)}.")
    module, class_name = APPS[known].split(":")
    return getattr(importlib.import_module(f"guidance.{module}"), class_name)()


def load_pipeline(app: str, **options: Any) -> "Pipeline":
    """Return a pipeline that makes the pictures of an app; weights are loaded at its first picture.

    Args:
        app: a key of ``APPS``.
        options: those of the command line by name, such as ``model="tiny"``.

    Raises:
        ValueError: an option that does not exist or does not fit, with the sentence that the command line prints.
    """
    from guidance.pipeline import load
    from guidance.unknown_options import check_names

    known = get_app(app)
    check_names(options, known, map(get_app, APPS))
    return load(known, options)
