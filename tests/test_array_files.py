"""Files that are to hold an array: whatever they hold, they are read or refused in one sentence."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from utils.errors import UserError
from utils.views.array_file import read_array
from utils.views.permutation_file import read_permutation
from utils.views.weights import read_weight_map


def npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A ``.npy`` file with any header."""
    padded = header + b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(padded)) + padded + data


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def archive() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(4), b=np.arange(4))
    return stream.getvalue()


ODD = {
    "nothing": b"",
    "text": b"1 2 3 4\n",
    "no zip archive": b"PK\x03\x04 and then nothing of the kind",
    "several arrays": archive(),
    "an open bracket": npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (4,"),
    "an open string": npy(b"{'descr': '''<i8"),
    "another header": npy(b"[1, 2]"),
    "a header of code": npy(b"__import__('os').system('true')"),
    "a deep header": npy(b"(" * 5000),
    "a header of control characters": npy(b"{'descr': '\x00\xff'}"),
    "a version to come": npy(b"{}", version=b"\x09\x00"),
    "more than any memory": npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1125899906842624,), }"),
    "a shape below zero": npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (-4,), }"),
    "a shape beyond numbers": npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (10**400,), }"),
    "half the data": saved(np.arange(16))[:-20],
    "objects": saved(np.array([{"a": 1}], dtype=object)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "p.npy"
    path.write_bytes(ODD[name])
    for read in (lambda: read_permutation(str(path)), lambda: read_weight_map(path), lambda: read_weight_map(path, 2)):
        with pytest.raises(UserError, match=r"p\.npy (is no readable \.npy file|holds several arrays): ") as refusal:
            read()
        assert "\n" not in str(refusal.value)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(UserError, match="there is no file"):
            read_permutation(str(path))
        with pytest.raises(UserError, match="is no file"):
            read_weight_map(path)


def test_headers_of_old_forms_are_read_in_silence(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    data = np.arange(4, dtype="<i8").tobytes()
    (tmp_path / "p.npy").write_bytes(npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (4L,), }", data))
    assert read_array(tmp_path / "p.npy").tolist() == [0, 1, 2, 3] and not recwarn.list
