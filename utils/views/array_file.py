"""Read one array from a NumPy file of unknown origin. Nothing in the file is ever executed."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from utils.files import is_file

if TYPE_CHECKING:
    import numpy as np


def read_array(path: Path) -> "np.ndarray":
    """Return the array of a ``.npy`` file.

    Raises:
        ValueError: there is no such file, or it holds no single array; the message says so.
    """
    import numpy as np

    if not is_file(path):
        raise ValueError("is no file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of headers in old forms
            array = np.load(path, allow_pickle=False)
    except Exception as error:  # headers are Python literals, archives are zip files: each fails in many ways
        raise ValueError("is no readable .npy file") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("holds several arrays")
    return array
