"""Ambiguous images through ``main.py``: which model the benchmarks of them take."""

import argparse


def add_model_options(parser: argparse.ArgumentParser, dtype: str) -> None:
    """Add options that say which weights draw, where, and in which number format."""
    parser.add_argument("--stage_1_path", help="weights of stage 1, as main.py takes them; else the embedded letters")
    parser.add_argument("--stage_2_path", help="weights of stage 2, as main.py takes them; else the embedded letters")
    parser.add_argument("--device", default="auto", help="where networks run")
    parser.add_argument("--dtype", default=dtype, help="number format of the networks")


def model_argv(options: argparse.Namespace) -> list[str]:
    """Return what ``main.py`` is told of the model."""
    paths = {"--stage_1_path": options.stage_1_path, "--stage_2_path": options.stage_2_path}
    given = [text for name, path in paths.items() if path is not None for text in (name, path)]
    return [*(given or ["--model", "tiny"]), "--device", options.device, "--dtype", options.dtype]
