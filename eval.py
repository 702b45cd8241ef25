"""Score a folder of generated pictures with CLIP: ``python eval.py --fdir1 results/wide_images --app wide_images``.

Writes ``eval.json`` (the assignment's keys) and ``eval_details.json`` (everything else) into the folder.
"""

import sys

from utils.errors import tell_interrupts

if __name__ == "__main__":
    tell_interrupts("eval.py")  # the imports below take a while

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guidance import APPS, get_app
from guidance.app import App
from utils.console import complain, say
from utils.errors import OneLineParser, UserError, exit_with
from utils.files import write_json
from utils.options import flags
from utils.run.run_record import RunRecord
from utils.scoring.clip_files import TINY, ClipSource, find_clip
from utils.scoring.compare import app_of, compare
from utils.scoring.compare import table as compare_table
from utils.scoring.eval_plan import ScorePlan, list_files, make_plan, read_run
from utils.scoring.eval_scores import score_plan, verdict
from utils.scoring.figures import figures_of, figures_table, roles_table, scores_by_role

TABLE_WIDTH = 78


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = OneLineParser(prog="eval.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fdir1", metavar="DIR", help="folder of pictures; not searched deeper")
    parser.add_argument("--app", "-app", metavar="APP", help=f"{' or '.join(APPS)} (a plural s at the end works too)")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="score nothing: tabulate folders that are scored, over the prompts and seeds that all of them have",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write a page to look at: report.html into the folder; with --compare comparison.html beside the "
        "first one",
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


def evaluate(options: argparse.Namespace) -> tuple[dict[str, Any], ScorePlan]:
    """Score a folder, write both JSON files and return what ``eval_details.json`` holds, with the plan behind it.

    Raises:
        UserError: nothing to score, CLIP weights that cannot be had, a folder that cannot be written.
    """
    if options.fdir1 is None or options.app is None:
        raise UserError("--fdir1 DIR and --app APP are needed both: give the folder, and the app that made it.")
    app, folder = get_app(options.app), Path(options.fdir1)
    paths = list_files(folder)
    record = read_run(folder, app.name)
    plan = make_plan(paths, app.naming_rule(options.prompts_file), app.roles, record)
    if not plan.files:
        raise UserError(f"{folder} has no picture to score{_why_nothing(plan)}.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written, and eval.json belongs there: change its permissions.")
    source = _find_source(options, record)
    details = score_plan(plan, source, app.name, f"{options.fdir1.rstrip('/')}/", app.full_points(record))
    if record is not None:
        _measure(details, app, folder, record)
    _write(folder, details)
    return details, plan


def _measure(details: dict[str, Any], app: App, folder: Path, record: RunRecord) -> None:
    """Add ``figures`` of pictures and scores by ``directions`` to the details, where there are any."""
    figures, broken = figures_of(folder, record, app.figures)
    details["skipped"] += broken
    if figures["pictures"]:
        details["figures"] = figures
    if directions := scores_by_role(details["pictures"], record, app.roles):
        details["directions"] = directions


def compare_folders(folders: Sequence[Path], with_page: bool) -> None:
    """Print how scored folders compare, and write a page of them if asked to.

    Raises:
        UserError: see :func:`utils.scoring.compare.compare` and :func:`utils.report.page.write_comparison`.
    """
    say(*compare_table(compare(folders)))
    if with_page:
        from utils.report.page import write_comparison

        page = write_comparison(folders, [get_app(app_of(folder)) for folder in folders])
        say(f"Wrote {page}: open it in a browser.")


def report(options: argparse.Namespace) -> None:
    """Write the page of a folder.

    Raises:
        UserError: see :func:`utils.report.page.write_report`.
    """
    from utils.report.page import write_report

    page = write_report(Path(options.fdir1), get_app(options.app), options.prompts_file)
    say(f"Wrote {page}: open it in a browser.")


def _check_alone(options: argparse.Namespace) -> None:
    given = [name for name, value in vars(options).items() if value not in (None, False)]
    if others := [name for name in given if name not in ("compare", "report")]:
        raise UserError(f"--compare scores nothing, so {flags(others)} does not apply: leave it out.")


def _why_nothing(plan: ScorePlan) -> str:
    if not plan.skipped:
        return ": it holds no files"
    first = plan.skipped[0]
    return f": {len(plan.skipped)} skipped, the first one {first.file!r} ({first.reason})"


def _find_source(options: argparse.Namespace, record: RunRecord | None) -> ClipSource:
    model = options.clip_model
    if model is None and options.clip_pretrained is None and record is not None and record["model"]["family"] == TINY:
        say("run.json says that the embedded models made these pictures: scoring with the embedded scorer (tiny).")
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


def table(details: dict[str, Any], plan: ScorePlan) -> list[str]:
    """Return the scores as lines of text: one per prompt, the mean, views of one picture, what was skipped."""
    lines = [f"{'score':>7}  pictures  prompt"]
    lines += [f"{row['score']:7.4f}  {len(row['files']):8d}  {_short(row['prompt'])}" for row in details["prompts"]]
    lines += [f"{details['score']:7.4f}  {details['counts']['pictures']:8d}  mean over prompts (higher is better)"]
    if details["pairs"]:
        lines += _views_table(details)
    if "directions" in details:
        lines += ["", *roles_table(details["directions"])]
    if "figures" in details:
        lines += ["", *figures_table(details["figures"])]
    return [*lines, *_skipped(details, plan), "", verdict(details)]


def _views_table(details: dict[str, Any]) -> list[str]:
    lines = ["", f"{'A':>7}  {'C':>7}   pair (A: worst alignment, C: concealment; higher is better)"]
    lines += [
        f"{row['alignment']:7.4f}  {row['concealment']:7.4f}   {_short(' | '.join(row['prompts']))}"
        for row in details["pairs"]
    ]
    lines += [f"{details['alignment']:7.4f}  {details['concealment']:7.4f}   mean over pairs"]
    if details["clip"]["model"] == TINY:
        lines += ["By the embedded scorer C is about 1 for whatever the embedded models draw: A is what tells."]
    return lines


def _skipped(details: dict[str, Any], plan: ScorePlan) -> list[str]:
    """Count what is never scored, by kind; list what one would expect a score of."""
    by_design = {(item.file, item.reason): item.kind for item in plan.skipped if item.kind is not None}
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(by_design.values()).items()))
    unexpected = [item for item in details["skipped"] if (item["file"], item["reason"]) not in by_design]
    lines = ["", f"Not scored by design: {kinds} (listed in eval_details.json)."] if kinds else []
    lines += ["", "skipped:"] if unexpected else []
    return [*lines, *(f"  {_short(item['file'])}: {item['reason']}" for item in unexpected)]


def _short(text: str) -> str:
    """Return one line of at most ``TABLE_WIDTH`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= TABLE_WIDTH else f"{text[: TABLE_WIDTH - 3]}..."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code 0, or 130 when stopped, or ends with 2 and one sentence."""
    try:
        options = make_parser().parse_args(argv)
        if options.compare is not None:
            _check_alone(options)
            compare_folders(options.compare, options.report)
            return 0
        details, plan = evaluate(options)
        say(*table(details, plan), f"Wrote eval.json and eval_details.json to {details['source_dir']}")
        if options.report:
            report(options)
    except UserError as error:
        exit_with("eval.py", error)
    except KeyboardInterrupt:
        complain("eval.py: stopped; eval.json is written whole or not at all")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
