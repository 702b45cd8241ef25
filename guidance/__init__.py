"""The apps. Importing this package does not import torch: a class is loaded when its app runs."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guidance.base_model import BaseModel

APPS = {
    "wide_image": "wide_image_model:WideImageModel",
    "ambiguous_image": "ambiguous_image_model:AmbiguousImageModel",
}


def load_app(name: str) -> type["BaseModel"]:
    """Return the model class of an app, a key of ``APPS``."""
    module_name, class_name = APPS[name].split(":")
    return getattr(importlib.import_module(f"guidance.{module_name}"), class_name)
