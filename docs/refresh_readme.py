"""Write again what the README shows of this code: the picture, the figures, the file tree.

``make readme`` does all of it, in about a minute, as the demo runs; ``python docs/refresh_readme.py --tree``
the file trees, the table of losses and the list of results alone.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "likewise"
README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "images"
FILES = ROOT / "docs" / "files.md"
RESULTS = ROOT / "docs" / "results"
_COMMAND = 120  # signs of a command that the list of results shows


def tree() -> str:
    """The package's folders and the files beside them, each with a clause of its docstring."""
    return "\n".join(["```", "src/likewise/", *_branch(PACKAGE, 1, deepest=1), "```"])


def files() -> str:
    """The page of all files of the package."""
    lines = [
        "# Every file",
        "",
        "Written by `python docs/refresh_readme.py --tree`; don't edit it by hand.",
        "",
    ]
    return "\n".join([*lines, "```", "src/likewise/", *_branch(PACKAGE, 1), "```", ""])


def results() -> str:
    """The page that lists the measured pages: what wrote each, at which commit, over how many seeds."""
    lines = [
        "# Results",
        "",
        "Every page here was written by the program that measured it. This list is made of them",
        "",
    ]
    lines[2] += " by `python docs/refresh_readme.py --tree`."
    lines += ["| page | written by | commit | seeds |", f"|{' --- |' * 4}"]
    for page in sorted(RESULTS.glob("*.md")):
        if page.name != "README.md":
            lines.append(f"| [{page.stem}]({page.name}) | {' | '.join(_origin(page.read_text('utf-8')))} |")
    return "\n".join([*lines, ""])


def _origin(text: str) -> tuple[str, str, str]:
    """The command, the commit and the seeds that a page tells of itself, "-" for what it doesn't tell."""
    rows = dict(re.findall(r"^\| (command|commit|seeds|seeds run) \| (.*?) \|$", text, re.MULTILINE))
    said = re.search(r"[Ww]ritten by (`[^`]+`)(?:.*?at commit `?(\w+)`?)?", text, re.DOTALL)
    command, commit = said.groups() if said else (None, None)
    seeds = rows.get("seeds run") or (str(len(rows["seeds"].split(","))) if "seeds" in rows else "-")
    written = rows.get("command") or command or "-"
    if len(written) > _COMMAND:
        written = f"{written[:_COMMAND].rsplit(' ', 1)[0]} ...`"
    return written, rows.get("commit") or commit or "-", seeds


def _branch(folder: Path, depth: int, *, deepest: int = 9) -> list[str]:
    lines = []
    width = 23 if deepest == 1 else 33
    for path in sorted(folder.iterdir()):
        own = path / "__init__.py" if path.is_dir() else path
        if own.suffix != ".py" or not own.is_file() or (path.name == "__init__.py" and depth > 1):
            continue
        lines.append(f"{'  ' * depth + path.name + '/' * path.is_dir():<{width}} {_clause(own)}")
        if path.is_dir() and depth < deepest:
            lines += _branch(path, depth + 1, deepest=deepest)
    return lines


def _clause(path: Path) -> str:
    """The first sentence of a file's docstring; where that names the thing before a colon, what follows."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].replace("``", "").split())
    clause = re.split(r"[.;](?: |$)", first.partition(": ")[2] or first)[0]
    clause = re.sub(r":\w+:`~?([\w.]+)`", r"\1", clause)
    return clause if clause[:2].isupper() else clause[:1].lower() + clause[1:]


def methods() -> str:
    """Every loss with the source that its docstring names first, and the method that trains with it."""
    from likewise import losses
    from likewise.training import METHODS

    trained: dict[str, list[str]] = {}
    for name, trains in METHODS.items():
        trained.setdefault(trains.kind.__name__, []).append(f"`{name}`")
    lines = ["| loss | `--method` | source |", f"|{' --- |' * 3}"]
    for name in sorted(losses.__all__, key=str.lower):
        kind = getattr(losses, name)
        if name == "Loss" or not isinstance(kind, type):
            continue
        method = ", ".join(trained.get(name, []))
        lines.append(f"| `{name}` | {method} | {_source(kind.__doc__ or '')} |")
    return "\n".join(lines)


def _source(docstring: str) -> str:
    """Authors, title and year of the first reference, or the docstring's first sentence."""
    _, _, references = docstring.partition("References\n")
    told = " ".join(references.replace("-----", "").strip("- \n").split())
    found = re.match(r'(.*?), "(.*?)",? \(?(\d{4})', told)
    if found is None:
        return " ".join(docstring.split("\n\n")[0].split()).rstrip(".:").replace("``", "`")
    authors, title, year = found.groups()
    return f"{authors.lstrip('- ')}, *{title}*, {year}"


def figures() -> str:
    """Run the demo; write its pictures, and give its figures as a table."""
    from likewise.recipes.demo import TITLE, run_demo
    from likewise.report import HEADLINES, Theme, before_and_after

    with tempfile.TemporaryDirectory() as scratch:
        done = run_demo(Path(scratch) / "demo", progress=_tell)
    for name, theme in (("distances.png", Theme.light()), ("distances-dark.png", Theme.dark())):
        (PICTURES / name).write_bytes(before_and_after(done.panels, title=TITLE, theme=theme))
    controls = done.figures["controls"]
    lines = [
        "| on digits 5-9, never seen | trained on 0-4 | raw pixels | untrained net |",
        f"|{' --- |' * 4}",
    ]
    for (task, name), told in HEADLINES.items():
        held = [measured[task][name] for measured in (done.figures, controls["raw"], controls["untrained"])]
        cells = [f"{figure['value']:.3f} ({figure['low']:.3f} - {figure['high']:.3f})" for figure in held]
        lines.append(f"| {told} | **{cells[0]}** | {cells[1]} | {cells[2]} |")
    return "\n".join(lines)


def _tell(stage: str, done: int, total: int) -> None:
    print(f"\r{stage} {done}/{total}\033[K", end="" if done < total else "\n", file=sys.stderr)


def replace(text: str, mark: str, content: str) -> str:
    """The text with what stands between two marks replaced."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, _, rest = text.partition(begin)
    if end not in rest:
        raise SystemExit(f"README.md: expected the marks {begin} and {end}")
    return f"{head}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Refresh the README in place."""
    text = replace(README.read_text("utf-8"), "tree", tree())
    text = replace(text, "methods", methods())
    if "--tree" not in sys.argv[1:]:
        PICTURES.mkdir(parents=True, exist_ok=True)
        text = replace(text, "figures", figures())
    README.write_text(text, "utf-8")
    FILES.write_text(files(), "utf-8")
    (RESULTS / "README.md").write_text(results(), "utf-8")


if __name__ == "__main__":
    main()
