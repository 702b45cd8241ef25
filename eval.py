"""Score a folder of generated pictures with CLIP: ``python eval.py --fdir1 results/wide_images --app wide_images``.

Writes ``eval.json`` (the assignment's keys) and ``eval_details.json`` (everything else) into the folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.errors import OneLineParser, UserError, exit_with
from utils.files import write_json
from utils.prompts import ambiguous_prompts, file_stem, read_ambiguous_prompts, read_wide_prompts
from utils.scoring.clip_files import TINY, ClipSource, find_clip
from utils.scoring.eval_plan import Plan, RunRecord, list_files, make_plan, parse_app, read_run
from utils.scoring.eval_scores import score_plan

PAIRS_FILE = Path(__file__).parent / "data" / "ambiguous_image_prompts.json"
TABLE_WIDTH = 78


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = OneLineParser(prog="eval.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fdir1", required=True, metavar="DIR", help="folder of pictures; not searched deeper")
    parser.add_argument(
        "--app", "-app", required=True, metavar="APP", help="wide_images or ambiguous_images (the singular works too)"
    )
    parser.add_argument(
        "--prompts_file",
        type=Path,
        metavar="JSON",
        help="prompts of files that run.json does not name (default: by file name, underscores are spaces)",
    )
    parser.add_argument(
        "--clip_model",
        metavar="NAME",
        help="open_clip model, folder of one, or 'tiny', the embedded scorer "
        "(default: ViT-B-32-quickgelu; tiny for pictures that run.json says the embedded models made)",
    )
    parser.add_argument(
        "--clip_pretrained", metavar="TAG", help="open_clip tag or local weights file (default: openai)"
    )
    return parser


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Score a folder, write both JSON files and return what ``eval_details.json`` holds.

    Raises:
        UserError: nothing to score, CLIP weights that cannot be had, a folder that cannot be written.
    """
    app, folder = parse_app(options.app), Path(options.fdir1)
    paths = list_files(folder)
    run = read_run(folder, app)
    plan = _plan(paths, app, run, options.prompts_file)
    if not plan.pictures:
        raise UserError(f"{folder} has no picture to score{_why_nothing(plan)}.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written, and eval.json belongs there: change its permissions.")
    source = _find_source(options, run)
    details = score_plan(plan, source, app, f"{options.fdir1.rstrip('/')}/")
    _write(folder, details)
    return details


def _plan(paths: Sequence[Path], app: str, run: RunRecord | None, prompts_file: Path | None) -> Plan:
    if app == "wide_image":
        wide = read_wide_prompts(prompts_file) if prompts_file else {}
        prompts = {
            stem: fields["prompt"] for name, fields in wide.items() for stem in (name, file_stem(fields["prompt"]))
        }
        return make_plan(paths, app, run, prompts)
    pairs = [ambiguous_prompts(fields) for fields in read_ambiguous_prompts(prompts_file or PAIRS_FILE).values()]
    return make_plan(paths, app, run, {file_stem(prompt): prompt for pair in pairs for prompt in pair}, pairs)


def _why_nothing(plan: Plan) -> str:
    if not plan.skipped:
        return ": it holds no files"
    first = plan.skipped[0]
    return f": {len(plan.skipped)} skipped, the first one {first.file!r} ({first.reason})"


def _find_source(options: argparse.Namespace, run: RunRecord | None) -> ClipSource:
    model = options.clip_model
    if model is None and options.clip_pretrained is None and run is not None and run.family == TINY:
        print("run.json says that the embedded models made these pictures: scoring with the embedded scorer (tiny).")
        model = TINY
    return find_clip(model, options.clip_pretrained)


def assignment_json(details: dict[str, Any]) -> dict[str, Any]:
    """Return ``eval.json``: ``source_dir``, the first file of each prompt with the prompt's mean, ``score``."""
    folder = details["source_dir"]
    scores = {folder + row["files"][0]: row["score"] for row in details["prompts"]}
    return {"source_dir": folder, **scores, "score": details["score"]}


def _write(folder: Path, details: dict[str, Any]) -> None:
    try:
        write_json(folder / "eval_details.json", details)
        write_json(folder / "eval.json", assignment_json(details))
    except OSError as error:
        raise UserError(f"the scores cannot be written to {folder}: {error.strerror}.") from error


def table(details: dict[str, Any]) -> str:
    """Return the scores as text: one line per prompt, the mean, views of ambiguous pictures, what was skipped."""
    lines = [f"{'score':>7}  pictures  prompt"]
    lines += [f"{row['score']:7.4f}  {len(row['files']):8d}  {_short(row['prompt'])}" for row in details["prompts"]]
    lines += [f"{details['score']:7.4f}  {details['counts']['pictures']:8d}  mean over prompts (higher is better)"]
    if details["pairs"]:
        lines += ["", f"{'A':>7}  {'C':>7}   pair (A: worst alignment, C: concealment; higher is better)"]
        lines += [
            f"{row['alignment']:7.4f}  {row['concealment']:7.4f}   {_short(' | '.join(row['prompts']))}"
            for row in details["pairs"]
        ]
        lines += [f"{details['alignment']:7.4f}  {details['concealment']:7.4f}   mean over pairs"]
    if details["skipped"]:
        lines += ["", "skipped:"]
        lines += [f"  {_short(item['file'])}: {item['reason']}" for item in details["skipped"]]
    return "\n".join([*lines, "", _verdict(details)])


def _verdict(details: dict[str, Any]) -> str:
    grade, clip = details["grade"], details["clip"]
    if grade:
        return f"Grade: {grade['points']} of {grade['of']} ({grade['rule']})."
    if clip["model"] == TINY:
        return (
            "Scored by the embedded scorer: the numbers compare pictures of the embedded models and count for nothing."
        )
    return f"No grade: it is given for OpenAI's ViT-B/32 weights only, and {clip['weights']} is not known to be those."


def _short(text: str) -> str:
    """Return one printable line of at most ``TABLE_WIDTH`` characters."""
    text = " ".join(text.split())
    text = text if len(text) <= TABLE_WIDTH else f"{text[: TABLE_WIDTH - 3]}..."
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code 0, or ends with 2 and one sentence."""
    options = make_parser().parse_args(argv)
    try:
        details = evaluate(options)
    except UserError as error:
        exit_with("eval.py", error)
    print(table(details))
    print(f"Wrote eval.json and eval_details.json to {details['source_dir']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
