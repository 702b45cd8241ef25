"""Make what is handed in, {NAME}_{SID}.pdf and {NAME}_{SID}.zip, and list what the course asks for and is missing.

python submit.py --name NAME --sid SID --wide results/wide_images --ambiguous results/ambiguous_images
"""

import sys

from utils.errors import tell_interrupts

if __name__ == "__main__":
    tell_interrupts("submit.py")

import argparse
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guidance import get_app
from utils.console import complain, say
from utils.errors import OneLineParser, UserError, exit_with
from utils.files import write_atomic
from utils.options import Given, flags
from utils.run.run_folder import RunFolder
from utils.run.run_record import RunRecord, name_fault
from utils.scoring.clip_files import TINY
from utils.submission.archive import make_zip, picture_files, tracked_files, untracked_code
from utils.submission.checklist import Item, check_task, lines
from utils.submission.pdf import make_pdf
from utils.submission.task import Task

ROOT = Path(__file__).resolve().parent
PLAIN_NAME = re.compile(r"\w[\w .'-]*")
CASES = ("eps", "x0", "xt")  # what Task 3 averages


@dataclass(frozen=True)
class Course:
    """What the course asks for in a task.

    Attributes:
        title: of the task.
        option: the option that names its folder.
        app: what makes its pictures.
        prompts: file of its prompts.
        settings: options that it prescribes.
        more: options of its commands besides these.
    """

    title: str
    option: str
    app: str
    prompts: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    more: Sequence[str] = ()


TASK_1 = Course("Task 1: wide images", "wide", "wide_image", "data/wide_image_prompts.json")
TASK_2 = Course(
    "Task 2: ambiguous images", "ambiguous", "ambiguous_image", "data/ambiguous_image_prompts.json",
    {"views_names": ["identity", "rotate_cw"]},
)  # fmt: skip
TASK_3 = Course(
    "Task 3: another variable", "task3", "ambiguous_image", "data/ambiguous_image_prompts.json",
    {"views_names": ["identity", "inner_rotate"], "rotate_angle": 90.0}, ["initialize_xt_from_zt"],
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = OneLineParser(prog="submit.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--name", required=True, help="your name, as the files are to carry it")
    parser.add_argument("--sid", required=True, help="your student number")
    parser.add_argument("--wide", type=Path, metavar="DIR", default=Path("results/wide_images"),
                        help="folder of Task 1 (default: results/wide_images)")  # fmt: skip
    parser.add_argument("--ambiguous", type=Path, metavar="DIR", default=Path("results/ambiguous_images"),
                        help="folder of Task 2 (default: results/ambiguous_images)")  # fmt: skip
    parser.add_argument("--task3", type=Path, nargs="+", metavar="DIR", default=[],
                        help="folders of Task 3, which is optional: one for each of eps, x0 and xt")  # fmt: skip
    parser.add_argument("--with_models", action="store_true", help="put the embedded weights into the ZIP, too")
    parser.add_argument("--output_dir", type=Path, metavar="DIR", default=Path(),
                        help="where the two files are written (default: here)")  # fmt: skip
    return parser


def stem_of(name: str, sid: str) -> str:
    """Return what both files are called.

    Raises:
        UserError: a name or number that no plain file name can hold.
    """
    for option, text in (("name", name), ("sid", sid)):
        if not PLAIN_NAME.fullmatch(unicodedata.normalize("NFC", text)):
            raise UserError(
                f"--{option} {text!r} cannot be part of a file name: give letters and digits, with spaces, dots, "
                "apostrophes or hyphens between them."
            )
    stem = "_".join(unicodedata.normalize("NFC", text).strip().replace(" ", "_") for text in (name, sid))
    if fault := name_fault(f"{stem}.pdf"):
        raise UserError(f"--name and --sid make the file name {stem[:40]}... which {fault}: shorten them.")
    return stem


def find_tasks(options: argparse.Namespace) -> list[Task]:
    """Return the tasks that the options name, in their order.

    Raises:
        UserError: a folder that ``main.py`` did not make, of the wrong app, or two of one name.
    """
    tasks = [
        make_task(TASK_1, options.wide, "wide_images"),
        make_task(TASK_2, options.ambiguous, "ambiguous_images"),
        *(make_task(TASK_3, folder, f"task3/{folder.resolve().name}") for folder in options.task3),
    ]
    places = [task.place.casefold() for task in tasks]
    if len(set(places)) != len(places):
        raise UserError(f"two folders of --task3 have one name ({' '.join(places[2:])}): rename one.")
    return tasks


def make_task(course: Course, folder: Path, place: str) -> Task:
    """Return a task of the course as it lies in a folder.

    Raises:
        UserError: ``main.py`` did not make the folder, or with another app.
    """
    record = RunFolder.reopen(folder).read()
    app = get_app(course.app)
    if record["app"] != app.name:
        raise UserError(
            f"--{course.option} {folder} holds pictures of {record['app']}, not of {app.name}: give the folder of "
            f"{course.title.split(':')[0]}."
        )
    if fault := name_fault(folder.resolve().name):
        raise UserError(f"--{course.option} {folder} has a name that {fault}: rename it.")
    case = f" ({record['options'].get('sync')}), {folder.resolve().name}" if course is TASK_3 else ""
    given = Given(app.options, {"app": app.name, "prompts_file": str(ROOT / course.prompts),
                                "views_names": course.settings.get("views_names")})  # fmt: skip
    make, score = commands(course, folder, record)
    return Task(
        f"{course.title}{case}", folder, place, app.roles, app.requests(given), course.settings,
        app.full_points(record), make, score,
    )  # fmt: skip


def commands(course: Course, folder: Path, record: RunRecord) -> tuple[str, str]:
    """Return the commands that make what a folder lacks, and that score it: in a new folder where it must be anew."""
    made, family = record["options"], get_app(course.app).pretrained
    fits = record["model"]["family"] != TINY and all(made.get(key) == value for key, value in course.settings.items())
    target = folder if fits else folder.with_name(f"{folder.resolve().name}_{family}")
    sync = made.get("sync") if course is TASK_3 else None
    make = make_command(course, target, sync) + ("  # and the options that the folder was made with" if fits else "")
    return make, f"python eval.py --fdir1 {shlex.quote(str(target))} --app {course.app}s"


def make_command(course: Course, folder: Path, sync: str | None) -> str:
    """Return the command that makes the pictures of a task."""
    words = ["python", "main.py", "--app", course.app, "--model", get_app(course.app).pretrained]
    for name, value in {**course.settings, "sync": sync}.items():
        if value is not None:
            words += [flags([name]), *(map(str, value) if isinstance(value, list) else [f"{value:g}"
                      if isinstance(value, float) else str(value)])]  # fmt: skip
    words += [flags([name]) for name in course.more] + ["--prompts_file", course.prompts]
    top = [] if folder.parent == Path("results") else ["--save_top_dir", str(folder.parent)]
    return shlex.join([*words, *top, "--tag", folder.name])


def check_cases(tasks: Sequence[Task]) -> list[Item]:
    """Check that Task 3 has a folder for every variable that it averages."""
    there = {task.record["options"].get("sync") for task in tasks}
    return [
        Item(f"a folder with --sync {sync}", make_command(TASK_3, Path("results") / f"task3_{sync}", sync))
        for sync in CASES
        if sync not in there
    ]


def submit(options: argparse.Namespace) -> int:
    """Write both files, print the checklist, and return the exit code: 1 where something is missing.

    Raises:
        UserError: names, folders or a checkout that cannot be used, or files that cannot be written.
    """
    stem, tasks = stem_of(options.name, options.sid), find_tasks(options)
    own = (f"{stem}.pdf", f"{stem}.zip")
    code = tracked_files(ROOT, options.with_models)
    code = {name: path for name, path in code.items() if path.name not in own}  # an earlier run may have left them
    files = {**code, **picture_files(tasks)}
    checked = {f"{task.title}: {task.folder}": check_task(task) for task in tasks}
    checked["Task 3, which is optional"] = check_cases(tasks[2:]) if options.task3 else []
    pdf = make_pdf(f"{options.name} {options.sid}", tasks)
    write(options.output_dir, dict(zip(own, (pdf, make_zip(own[0], pdf, files)), strict=True)))
    return tell(options.output_dir / stem, checked)


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made if need be.

    Raises:
        UserError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            write_atomic(folder / name, data)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output_dir.") from error


def tell(path: Path, checked: Mapping[str, Sequence[Item]]) -> int:
    """Print the checklist, what was written, and the verdict; return the exit code."""
    for title, items in checked.items():
        if items:
            say(title, *lines(items), "")
    if untracked := untracked_code(ROOT):
        say(f"Not in the ZIP, as git does not track it: {' '.join(untracked)} (git add takes it in).", "")
    say(f"Wrote {path}.pdf and {path}.zip")
    missing = [item for items in checked.values() for item in items if item.remedy]
    if missing:
        complain(f"submit.py: INCOMPLETE: {len(missing)} items are missing, listed above; each costs 10 % of the grade")
    else:
        say("Complete: nothing that the course asks for is missing.")
    return 1 if missing else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, or ends with 2 and one sentence."""
    try:
        return submit(make_parser().parse_args(argv))
    except UserError as error:
        exit_with("submit.py", error)
    except KeyboardInterrupt:
        complain("submit.py: stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
