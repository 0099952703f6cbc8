"""The README's Python is executed, its commands are run, and its tree is the tree."""

import contextlib
import csv
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from conflict_framing import cli, load_corpus
from conflict_framing.train import load_recipe, train_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's files exist; its model is of the smoke recipe, for speed."""
    folder = tmp_path_factory.mktemp("readme")
    run = train_run(load_corpus(), load_recipe("smoke"), folder / "runs" / "default", say=lambda line: None)
    rows = [row.to_row() for row in load_corpus().sentences[::40]]
    for name, text_column in (("my_corpus.csv", "text"), ("my_test.csv", "text"), ("statements.csv", "statement")):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([text_column, "label", "outlet", "annotator_1", "annotator_2"])
            writer.writerows(
                [row["text"], row["label"], row["register"], row["annotator_1"], row["annotator_2"]] for row in rows
            )
    (folder / "archive").mkdir()
    with (folder / "archive" / "2024-01.jsonl").open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows):
            dated = {"text": row["text"], "document": number, "outlet": f"outlet {number % 2}", "date": "2024-01-09"}
            stream.write(json.dumps(dated) + "\n")
    for place in (folder / "articles" / "one.txt", folder / "my_text" / "one.txt"):
        place.parent.mkdir()
        shutil.copy(ROOT / "data" / "samples" / "article.txt", place)
    assert run.layout.model.is_dir()
    return folder


def test_python_runs_as_it_stands(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    snippets = blocks("python")
    assert len(snippets) == 3
    shown = io.StringIO()
    for number, snippet in enumerate(snippets):
        with contextlib.redirect_stdout(shown):
            exec(compile(snippet, f"README.md snippet {number}", "exec"), {})
    assert any(label in shown.getvalue() for label in ("stabilisation_claim", "none"))


def test_commands_run_as_they_stand(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("conflict-framing ")]
    assert len(lines) >= 6
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        arguments = [str(p) for a in arguments for p in (sorted(Path().glob(a)) if "*" in a else [a])]
        if arguments[0] == "train":  # the smoke recipe in place of minutes of training
            arguments += ["--recipe", "smoke", "--overwrite"]
        if "--held-out" in arguments:
            arguments += ["--folds", "2"]
        if "--search" in arguments:  # seconds in place of an hour
            arguments += ["--search", "0.1"]
        with pytest.raises(SystemExit) as left, contextlib.redirect_stdout(io.StringIO()):
            cli.main(arguments)
        assert left.value.code == cli.EXIT_OK, line
    assert (workplace / "labelled.parquet").exists()
    assert (workplace / "one.html").exists()


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = README[README.index("## The tree") :].split("```")[1]
    folder = Path()
    named: dict[str, set[str]] = {}
    for line in tree.splitlines():
        name = line.split()[0] if line.strip() else ""
        if name and not line.startswith(" "):
            folder = ROOT / name
            assert folder.is_dir(), name
            named[name.rstrip("/")] = set()
        elif name:
            assert (folder / name).exists(), f"{folder.name}/{name}"
            named[folder.name].add(name)
    for package in ("app", "data", "model", "train", "analysis"):
        modules = {p.name for p in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py"}
        assert modules - named[package] == set(), f"not named in the README's tree: {package}"


def test_exit_statuses_in_the_readme_are_those_of_the_command() -> None:
    table = README[README.index("## Messages") :].split("##")[1]
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    assert told == {cli.EXIT_OK, cli.EXIT_BUG, cli.EXIT_USER_ERROR, cli.EXIT_INCOMPLETE, cli.EXIT_INTERRUPTED}


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"make (\w+)\s", "\n".join(blocks("console")))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
