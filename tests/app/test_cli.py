import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conflict_framing import cli
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows, write_jsonl


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.fixture
def settings(backbone: Path) -> list[str]:
    pairs = {
        "backbone": backbone,
        "training.freeze_layers": 0,
        "training.epochs": 2,
        "training.batch_size": 8,
        "training.learning_rate": 4e-3,
        "export": "false",
    }
    return [part for key, value in pairs.items() for part in ("--set", f"{key}={value}")]


def test_train_evaluate_predict_and_read(
    tmp_path: Path, corpus_file: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call("train", "--corpus", corpus_file, "--output", run, *settings) == cli.EXIT_OK
    assert "macro-F1" in capsys.readouterr().out

    assert call("evaluate", corpus_file, "--model", run, "--output", tmp_path / "check") == cli.EXIT_OK
    shown = capsys.readouterr().out
    assert f"report  {tmp_path / 'check' / 'report.html'}" in shown
    for name in ("model", "majority", "TF-IDF", "frozen embeddings", "attack", "support"):
        assert name in shown
    assert (tmp_path / "check" / "report.html").exists()
    assert (tmp_path / "check" / "report.md").exists()

    assert call("predict", corpus_file, "--model", run, "--output", tmp_path / "out.csv") == cli.EXIT_OK
    assert (tmp_path / "out.csv").read_text("utf-8").startswith("text,input_label,document,id,label,score,p_attack")

    article = tmp_path / "a.txt"
    article.write_text("The town was calm. <script>alert(1)</script> A raid & clashes.", "utf-8")
    assert call("read", article, "--model", run / "model", "--html", tmp_path / "a.html") == cli.EXIT_OK
    assert "The town was calm." in capsys.readouterr().out
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page


def behaviour_groups(n: int) -> list[dict[str, object]]:
    """One group that the tiny model passes, ``n`` that it fails, and one with a label that it does not have."""
    kind = {"kind": "minimum_functionality", "capability": "[words]"}
    case = {"text": "calm and quiet near the town .", "label": "calm"}
    attacks = [str(row["text"]) for row in tiny_rows() if row["label"] == "attack"][:n]
    wrong = [{"id": text, **kind, "cases": [{"text": text, "label": "calm"}]} for text in attacks]
    other = {"id": "other", **kind, "cases": [{"text": "calm", "label": "none"}]}
    return [{"id": "p", **kind, "cases": [case]}, *wrong, other]


def test_behaviour_tests_are_a_measurement(
    run: Run, corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_jsonl(tmp_path / "own.jsonl", behaviour_groups(35))
    arguments = ("--model", run.layout.folder, "--device", "cpu")
    assert call("evaluate", "--behaviour", own, *arguments, "--output", tmp_path / "check") == cli.EXIT_OK
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines()]
    figures = ["36", "1", "0.028", "0.001–0.145", "0.80", "missed"]
    assert ["minimum", "functionality", "all", *figures] in rows
    assert ["[words]", *figures] in rows
    assert shown.out.count("([words]): expected calm, came ") == 30
    assert "… and 5 more failing sentences" in shown.err
    assert "1 group(s) left out: the model does not have the label(s) none." in shown.err
    assert sorted(path.name for path in (tmp_path / "check").iterdir()) == ["behaviour.json", "behaviour.jsonl"]
    assert len((tmp_path / "check" / "behaviour.jsonl").read_text("utf-8").splitlines()) == 35

    both = ("evaluate", corpus_file, "--no-baselines", *arguments, "--output", tmp_path / "both", "--behaviour")
    assert call(*both) == cli.EXIT_OK
    shown = capsys.readouterr()
    for part in ("macro-F1", "invariance", "actors", "report.html"):
        assert part in shown.out
    assert "left out" in shown.err  # the bundled groups that ask for the bundled labels
    assert {"metrics.json", "behaviour.json"} <= {path.name for path in (tmp_path / "both").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("predict a.txt --ouput x.csv", "there is no option --ouput. Did you mean --output? See: * predict --help"),
        ("corpus check --stricd", "there is no option --stricd. Did you mean --strict? See: * corpus check --help"),
        ("predict a.txt --output x.csv --zzz=1", "there is no option --zzz. See: * predict --help"),
        ("predict", "the following arguments are required: INPUT, --output. See: * predict --help"),
        ("read a.txt b.txt", "unrecognized arguments: b.txt. See: * read --help"),
        ("predict a.txt --output x --device", "argument --device: expected one argument. See: * predict --help"),
    ],
)
def test_a_mistyped_option_is_told_in_one_line(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments.split()) == cli.EXIT_USER_ERROR
    assert capsys.readouterr().err == f"error: {told.replace('*', 'conflict-framing')}\n"


def test_a_mistyped_command_or_choice_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("pedict", "a.txt") == cli.EXIT_USER_ERROR
    assert capsys.readouterr().err.endswith("Did you mean predict? See: conflict-framing --help\n")
    assert call("predict", "a.txt", "--output", "x.csv", "--runtime", "onx") == cli.EXIT_USER_ERROR
    assert "Did you mean onnx? See: conflict-framing predict --help" in capsys.readouterr().err


def test_predict_with_rejected_rows_has_its_own_status(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "calm"}\n{broken\n', "utf-8")
    status = call("predict", source, "--model", run.layout.folder, "--output", tmp_path / "out.jsonl")
    assert status == cli.EXIT_INCOMPLETE
    said = capsys.readouterr().err.replace("\n", " ")
    assert "1 of 2 rows rejected" in said
    assert (
        f"this model has no graph, so PyTorch labelled, which takes longer. Make one: conflict-framing export --model "
        f"{run.layout.folder}" in said
    )
    assert (tmp_path / "out.jsonl.rejected.jsonl").exists()
    (tmp_path / "a.txt").write_bytes("Un café.".encode("cp1252"))
    (tmp_path / "b.txt").write_text("The town was calm.", "utf-8")
    texts = (tmp_path / "a.txt", tmp_path / "b.txt")
    status = call("predict", *texts, "--model", run.layout.folder, "--output", tmp_path / "texts.jsonl")
    assert status == cli.EXIT_INCOMPLETE
    said = capsys.readouterr().err
    assert "1 of 2 rows rejected" in said
    assert f"{texts[0]}: the whole file is left out: line 1: not utf-8: byte 0xe9" in said
    assert "note: 1 of 1 articles has no date, which 'shares' needs to group by month or year." in said


def test_models_are_compared(
    run: Run, tmp_path: Path, corpus_file: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    quick = ("--set", "training.learning_rate=1e-4", "--set", "baselines=false", "--set", "few_labels.up_to=null")
    assert call("train", "--corpus", corpus_file, "--output", other, *settings, *quick) == cli.EXIT_OK
    data = tmp_path / "data.csv"
    rows = tiny_rows(60, seed=3)
    data.write_text("sentence,code,document\n" + "".join(f"{r['text']},{r['label']},{r['document']}\n" for r in rows))
    capsys.readouterr()
    arguments = ("compare", run.layout.folder, other, "--data", data, "--output", tmp_path / "out", "--device", "cpu")
    columns = ("--text-column", "sentence", "--label-column", "code")
    assert call(*arguments, *columns, "--sentences", "2") == cli.EXIT_OK
    shown = capsys.readouterr()
    told = json.loads((tmp_path / "out" / "compare.json").read_text("utf-8"))
    differing = told["pairs"][0]["differing"]
    assert differing > 2  # a learning rate at which nothing is learnt
    for part in (
        "data.csv: 60 sentences in 20 documents",
        "A is better than B",
        "A − B",
        "F1 attack",
        "McNemar's test",
    ):
        assert part in shown.out
    assert f"{differing} sentences get different labels; shown: 2, the surest first" in shown.out
    assert "note: McNemar's p is the probability" in shown.err
    assert "warning" not in shown.err
    assert len((tmp_path / "out" / "differences.jsonl").read_text("utf-8").splitlines()) == differing
    assert call(*arguments, *columns) == cli.EXIT_USER_ERROR  # kept without --overwrite
    assert "--overwrite" in capsys.readouterr().err
    assert call("compare", run.layout.folder, other, "--data", corpus_file, "--sentences", "0") == cli.EXIT_OK
    shown = capsys.readouterr()
    assert f"of these 240 sentences are in the training split of {other}" in shown.err
    assert "annotated" not in shown.out


def test_predict_abstains_and_tells_its_promise(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", tiny_rows(90, seed=4))
    predict = ("predict", source, "--model", calibrated, "--output", tmp_path / "out.csv", "--overwrite")
    assert call(*predict, "--max-error", "0.05", "--queue", tmp_path / "q.csv", "--queue-size", "3") == cli.EXIT_OK
    shown = capsys.readouterr()
    assert "at most 5% of the answered are wrong, with 95% confidence" in shown.err
    assert "of 90 rows abstained" in shown.out
    assert f"queue  {tmp_path / 'q.csv'}: 3 rows to label" in shown.out
    assert len((tmp_path / "q.csv").read_text("utf-8").splitlines()) == 4

    assert call(*predict, "--max-error", "0.05", "--adapt-priors") == cli.EXIT_OK
    shown = capsys.readouterr()
    assert "This promise is void: the probabilities were adapted" in shown.err
    assert "Label shares, by EM" in shown.out
    assert {"model", "counts", "abstention", "priors"} <= set(
        json.loads((tmp_path / "out.csv.meta.json").read_text("utf-8"))
    )

    assert call(*predict, "--max-error", "0.001") == cli.EXIT_OK
    shown = capsys.readouterr()
    assert "Abstains on everything" in shown.err
    assert "takes at least 2995 calibration documents without an error, and this model has 300" in shown.err
    assert "90 of 90 rows abstained" in shown.out

    assert call(*predict, "--abstain", "0.7") == cli.EXIT_OK
    assert "promises nothing about the error" in capsys.readouterr().err
    for wrong in ("0", "1", "nan", "few"):
        assert call(*predict, "--abstain", wrong) == cli.EXIT_USER_ERROR
        assert f"expected a number between 0 and 1, came '{wrong}'" in capsys.readouterr().err


def test_predict_warns_of_other_text(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    french = [{"text": f"Le ministère a dit que la vallée était calme ce matin, jour {n}."} for n in range(5)]
    source = write_jsonl(tmp_path / "in.jsonl", french)
    arguments = ("predict", source, "--model", run.layout.folder, "--output", tmp_path / "out.jsonl")
    assert call(*arguments) == cli.EXIT_OK
    warning = capsys.readouterr().err
    assert "warning: The input differs from the training text: " in warning
    assert "another language (fr 100%) than en" in warning
    told = json.loads((tmp_path / "out.jsonl.meta.json").read_text("utf-8"))
    assert told["drift"]["warning"] in warning
    assert 0 < told["drift"]["p_value"] <= 1 and told["drift"]["distance"]["value"] >= 0
    assert call(*arguments, "--overwrite", "--no-drift") == cli.EXIT_OK
    assert "differs" not in capsys.readouterr().err
    assert json.loads((tmp_path / "out.jsonl.meta.json").read_text("utf-8"))["drift"] is None
    write_jsonl(source, tiny_rows(60, seed=4))
    assert call(*arguments, "--overwrite") == cli.EXIT_OK
    assert "differs" not in capsys.readouterr().err


def test_explain_shows_prints_and_writes(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "e.html"
    arguments = ("explain", "The town was calm <b>.", "A raid began .", "--model", run.layout.folder, "--html", page)
    assert call(*arguments) == cli.EXIT_OK
    shown = " ".join(capsys.readouterr().out.split())
    assert "The town was calm <b>." in shown
    assert "not why the label is right" in shown
    assert "on special tokens" not in shown
    assert "special tokens have +0.00" in shown
    assert "<b>.</" not in page.read_text("utf-8")
    assert call(*arguments) == cli.EXIT_USER_ERROR  # the page is kept
    capsys.readouterr()
    assert call("explain", "calm , raid", "--model", run.layout.folder, "--label", "move", "--json") == cli.EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert (told["label"], [word["text"] for word in told["words"]]) == ("move", ["calm", ",", "raid"])
    assert call("explain", "calm", "--model", run.layout.folder, "--label", "nope") == cli.EXIT_USER_ERROR
    assert "--label nope: expected one of the labels attack, calm, move" in capsys.readouterr().err
    assert call("explain", " ", "--model", run.layout.folder) == cli.EXIT_USER_ERROR
    assert "expected a sentence" in capsys.readouterr().err


def test_read_explains_every_sentence(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    article = tmp_path / "a.txt"
    article.write_text("The town was calm. A raid & clashes.", "utf-8")
    page = tmp_path / "a.html"
    assert call("read", article, "--model", run.layout.folder, "--explain", "--html", page) == cli.EXIT_OK
    assert "The town was calm." in capsys.readouterr().out
    assert page.read_text("utf-8").count('class="words"') == 2


CASES = [
    "against without held out",
    "behaviour: malformed",
    "behaviour: missing file",
    "codebook",
    "compare: missing file",
    "compare: one model",
    "empty corpus",
    "evaluate on nothing",
    "header only",
    "label in other case",
    "malformed CSV",
    "malformed JSONL",
    "missing column",
    "missing file",
    "no model",
    "nothing to resume",
    "output exists",
    "predict: among and max error",
    "predict: among and priors",
    "predict: blank article",
    "predict: empty file",
    "predict: folder",
    "predict: header only",
    "predict: missing column",
    "predict: missing file",
    "predict: queue of nothing",
    "predict: text output",
    "predict: two thresholds",
    "predict: unknown output",
    "predict: wrong encoding",
    "read: a table",
    "search and folds",
    "search and held out",
    "search and seeds",
    "search: nothing to resume",
    "search: output exists",
    "too few examples",
    "unknown device",
    "unknown recipe",
    "unknown setting",
    "wrong encoding",
]


def wrong_inputs(folder: Path) -> dict[str, tuple[list[str], str]]:
    """What a user may get wrong, and a part of what must be said."""
    write_jsonl(folder / "good.jsonl", tiny_rows(30))
    write_jsonl(folder / "case.jsonl", [{"text": "a", "label": "None"}, {"text": "b", "label": "escalation_report"}])
    write_jsonl(folder / "few.jsonl", [{"text": f"t{n}", "label": "ab"[n == 0]} for n in range(20)])
    write_jsonl(folder / "tests.jsonl", [{"id": "a", "kind": "invariance", "capability": "b", "base": "c"}])
    (folder / "latin.csv").write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    (folder / "broken.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": \n', "utf-8")
    (folder / "ragged.csv").write_text("text,label\na,b\nc\n", "utf-8")
    (folder / "empty.jsonl").write_text("", "utf-8")
    (folder / "header.csv").write_text("text,label\n", "utf-8")
    (folder / "columns.csv").write_text("sentence,code\na,b\n", "utf-8")
    (folder / "blank.txt").write_text("\n \n", "utf-8")
    (folder / "article.txt").write_text("The town was calm.", "utf-8")
    (folder / "taken").mkdir()

    def train(corpus: str, *more: str) -> list[str]:
        return ["train", "--corpus", str(folder / corpus), "--output", str(folder / "run"), *more]

    def predict(source: str, output: str = "out.jsonl") -> list[str]:
        return ["predict", str(folder / source), "--model", "MODEL", "--output", str(folder / output)]

    def behaviour(*files: str) -> list[str]:
        return ["evaluate", "--behaviour", *(str(folder / name) for name in files), "--model", "MODEL"]

    return {
        "behaviour: malformed": (behaviour("tests.jsonl"), "tests.jsonl:1: variants: Field required"),
        "behaviour: missing file": (behaviour("nowhere.jsonl"), "nowhere.jsonl: no such file"),
        "evaluate on nothing": (["evaluate", "--model", "MODEL"], "Nothing to evaluate on"),
        "missing file": (train("nowhere.jsonl"), "nowhere.jsonl: no such file"),
        "wrong encoding": (train("latin.csv"), "byte 0xe9 at position 14"),
        "malformed JSONL": (train("broken.jsonl"), "broken.jsonl:2: not JSON"),
        "malformed CSV": (train("ragged.csv"), "ragged.csv:3: expected 2 fields as in the header, came 1"),
        "missing column": (train("columns.csv"), "Columns found: 'sentence', 'code'"),
        "label in other case": (train("case.jsonl"), "write 'none'"),
        "too few examples": (train("few.jsonl"), "Too few examples to split: label 'b' has 1 sentence(s)"),
        "empty corpus": (train("empty.jsonl"), "the file is empty"),
        "header only": (train("header.csv"), "no rows in it"),
        "output exists": (train("good.jsonl", "--output", str(folder / "taken")), "--overwrite"),
        "unknown recipe": (train("good.jsonl", "--recipe", "nope"), "neither a bundled recipe"),
        "unknown setting": (train("good.jsonl", "--set", "training.epoch=2"), "training.epoch: no such setting"),
        "unknown device": (train("good.jsonl", "--device", "toaster"), "not usable on this machine"),
        "nothing to resume": (train("good.jsonl", "--resume"), "no unfinished run"),
        "search and folds": (train("good.jsonl", "--search", "1", "--folds", "3"), "--search does not go with"),
        "search and held out": (train("good.jsonl", "--search", "1", "--held-out", "id"), "--search does not go with"),
        "search and seeds": (train("good.jsonl", "--search", "1", "--seeds", "2"), "--search does not go with"),
        "search: nothing to resume": (train("good.jsonl", "--search", "1", "--resume"), "no unfinished search"),
        "search: output exists": (train("good.jsonl", "--search", "1", "--output", str(folder / "taken")), "overwrite"),
        "predict: missing file": (predict("nowhere.csv"), "no such file"),
        "predict: wrong encoding": (predict("latin.csv"), "--encoding"),
        "predict: missing column": (predict("columns.csv"), "Columns found: 'sentence', 'code'"),
        "predict: empty file": (predict("empty.jsonl"), "the file is empty"),
        "predict: header only": (predict("header.csv"), "no rows in it"),
        "predict: blank article": (predict("blank.txt"), "no text in it"),
        "predict: folder": (predict("taken"), "is a folder"),
        "predict: unknown output": (predict("good.jsonl", "out.xlsx"), "out.xlsx: expected a table's name"),
        "predict: text output": (predict("good.jsonl", "out.txt"), "out.txt: expected a table's name"),
        "predict: among and max error": (
            [*predict("good.jsonl"), "--max-error", "0.1", "--among", "calm,move"],
            "--max-error does not go with --among",
        ),
        "predict: among and priors": (
            [*predict("good.jsonl"), "--adapt-priors", "--among", "calm,move"],
            "--adapt-priors does not go with --among",
        ),
        "predict: two thresholds": (
            [*predict("good.jsonl"), "--max-error", "0.1", "--abstain", "0.5"],
            "Give one of them",
        ),
        "predict: queue of nothing": ([*predict("good.jsonl"), "--queue", str(folder / "q.csv")], "Say which with"),
        "no model": (["read", str(folder / "article.txt"), "--model", str(folder / "taken")], "not a model"),
        "read: a table": (["read", str(folder / "good.jsonl"), "--model", "MODEL"], "is a table; 'read' shows one"),
        "compare: missing file": (
            ["compare", "MODEL", "MODEL", "--data", str(folder / "no.csv")],
            "no.csv: no such file",
        ),
        "compare: one model": (["compare", "MODEL", "--data", str(folder / "good.jsonl")], "Expected 2 to 26 models"),
        "against without held out": (train("good.jsonl", "--against", "MODEL"), "--against goes with --held-out"),
        "codebook": (train("good.jsonl", "--codebook", str(folder / "none.yaml")), "no such codebook file"),
    }


@pytest.mark.parametrize("case", CASES)
def test_a_users_mistake_is_told_in_words(
    case: str, run: Run, tmp_path: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cases = wrong_inputs(tmp_path)
    assert sorted(cases) == CASES
    arguments, expected = cases[case]
    before = sorted(path.name for path in tmp_path.iterdir())
    if arguments[0] == "train" and "--recipe" not in arguments:
        arguments = [*arguments, *settings]
    arguments = [str(run.layout.folder) if part == "MODEL" else part for part in arguments]
    assert call(*arguments) == cli.EXIT_USER_ERROR
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert expected in shown
    assert "Traceback" not in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from conflict_framing.data import UserError

    with pytest.raises(UserError):
        cli.main(["corpus", "check", str(tmp_path / "none.jsonl"), "--debug"])


def test_corpus_check_prints_path_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "The same words again", "label": label} for label in ("a", "b")]
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    assert call("corpus", "check", path) == cli.EXIT_INCOMPLETE
    assert f"{path}:2: the same sentence as {path}:1" in capsys.readouterr().out


def test_corpus_stats_and_agreement_print_whole_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("corpus", "stats") == cli.EXIT_OK
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == [
        "register", "documents", "sentences",
        "stabilisation_claim", "escalation_report", "operational_description", "none",
    ]  # fmt: skip
    assert "…" not in shown
    assert call("corpus", "agreement", "--by", "theatre") == cli.EXIT_OK
    assert "theatre mali" in capsys.readouterr().out


def test_corpus_stats_draw_what_they_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "balance.png"
    assert call("corpus", "stats", "--by", "actor", "theatre", "--picture", picture) == cli.EXIT_OK
    shown = capsys.readouterr().out
    assert "armed group" in shown
    assert "mali" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert call("corpus", "stats", "--picture", picture) == cli.EXIT_USER_ERROR
    assert call("corpus", "stats", "--picture", tmp_path / "balance.doc") == cli.EXIT_USER_ERROR


def test_corpus_check_warns_and_with_strict_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"Gunmen number {n} of {n * 7}", "label": "a"} for n in range(30)]
    rows += [{"text": f"Nobody number {n} of {n * 7}", "label": "b"} for n in range(60)]
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    assert call("corpus", "check", path) == cli.EXIT_OK
    assert "warning: actor 'armed group' goes with one label: 100% of 30" in capsys.readouterr().out
    assert call("corpus", "check", path, "--strict") == cli.EXIT_INCOMPLETE


def test_likely_label_errors_are_written_for_a_person_to_read(
    tmp_path: Path, corpus_file: Path, backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in corpus_file.read_text("utf-8").splitlines()]
    rows[7]["label"] = "calm" if rows[7]["label"] != "calm" else "move"
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    suspects = tmp_path / "suspects.csv"
    arguments = ("corpus", "check", path, "--label-errors", suspects, "--backbone", backbone, "--device", "cpu")
    assert call(*arguments) in (cli.EXIT_OK, cli.EXIT_INCOMPLETE)  # the tiny corpus has near-duplicates
    lines = suspects.read_text("utf-8").splitlines()
    assert lines[0] == "place,text,label,suggested,p_label,p_suggested"
    assert any(line.startswith(f"{path}:8,") for line in lines)
    assert call(*arguments) == cli.EXIT_USER_ERROR  # kept without --overwrite


def test_several_runs_are_measured_together(
    tmp_path: Path, corpus_file: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("train", "--corpus", corpus_file, "--folds", "2", "--output", tmp_path / "s", "--device", "cpu")
    assert call(*arguments, *settings, "--set", "baselines=false") == cli.EXIT_OK
    shown = capsys.readouterr().out
    assert "2 folds, documents held out whole" in shown
    assert "seed 13" in shown
    assert json.loads((tmp_path / "s" / "study.json").read_text("utf-8"))["seeds"][0]["n"] == 240


def test_settings_are_searched_and_the_trials_told(
    tmp_path: Path,
    corpus_file: Path,
    settings: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conflict_framing.train import search

    # A minute for each finished trial, however fast the machine is.
    monkeypatch.setattr(search, "monotonic", lambda: 60.0 * len([*(tmp_path / "run.search").glob("trial-?")]))
    arguments = ("train", "--corpus", corpus_file, "--output", tmp_path / "run", "--device", "cpu", *settings)
    assert call(*arguments, "--search", "3", "--set", "baselines=false", "--set", "few_labels.up_to=null") == 0
    shown = capsys.readouterr()
    assert "own setting" in shown.out
    assert "chosen" in shown.out
    assert "…" not in shown.out
    assert "Chosen: trial" in shown.err
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    for wrong in ("0", "-5", "nan", "an hour"):
        assert call(*arguments, "--search", wrong) == cli.EXIT_USER_ERROR
        assert f"expected minutes, a number above 0, came '{wrong}'" in capsys.readouterr().err


def test_recipe_prints_what_it_resolves_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipe", "smoke", "--set", "seed=99") == cli.EXIT_OK
    shown = capsys.readouterr().out
    assert "seed: 99" in shown
    assert "max_corpus: 240" in shown


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["train"],
        ["evaluate"],
        ["compare"],
        ["predict"],
        ["read"],
        ["explain"],
        ["corpus", "check"],
        ["recipe"],
        ["demo"],
    ],
)
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*command, "--help") == cli.EXIT_OK
    assert len(capsys.readouterr().out.splitlines()) > 8


def test_as_a_process_with_standard_input_and_a_closed_pipe(run: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "conflict_framing"]
    article = gzip.compress(b"The town was calm. A raid began.")
    (tmp_path / "a.txt.gz").write_bytes(article)
    done = subprocess.run(
        [*command, "read", "-", "--model", str(run.layout.folder)],
        input="The town was calm.",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "standard input" in done.stdout
    failed = subprocess.run([*command, "predict", "x.csv"], capture_output=True, text=True, check=False)
    assert failed.returncode == cli.EXIT_USER_ERROR


def test_demo_trains_once_and_reuses(
    tmp_path: Path, settings: list[str], backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        f"name: tiny\nbackbone: {backbone}\nmax_corpus: 1500\ntraining: {{epochs: 1, freeze_layers: 0}}\n", "utf-8"
    )
    arguments = ("demo", "--output", tmp_path / "demo", "--recipe", recipe)
    assert call(*arguments) == cli.EXIT_OK
    first = capsys.readouterr()
    made = (tmp_path / "demo" / "model" / "model.safetensors").stat().st_mtime_ns
    assert call(*arguments) == cli.EXIT_OK
    second = capsys.readouterr()
    assert (tmp_path / "demo" / "model" / "model.safetensors").stat().st_mtime_ns == made
    assert "Using the model trained before" in second.err
    for shown in (first.out, second.out):
        assert "NYALAVUR" in shown
        for name in ("report", "model", "reading view", "findings"):
            (line,) = [line for line in shown.splitlines() if line.startswith(f"{name:13} ")]
            assert Path(line.split(maxsplit=2 if name == "reading view" else 1)[-1]).exists()
    assert json.loads((tmp_path / "demo" / "model" / "framing.json").read_text("utf-8"))["recipe"]["name"] == "tiny"
    shutil.rmtree(tmp_path / "demo")


def test_shares_from_predictions_to_an_audit_to_a_report(
    run: Run, calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from conflict_framing.model.calibration import Calibration

    model = Path(shutil.copytree(calibrated, tmp_path / "model"))
    known = tiny_rows(300, seed=5)
    Calibration(
        labels=run.classifier.classes_,
        temperature=1.0,
        units=list(range(300)),
        references=[run.classifier.classes_.index(str(row["label"])) for row in known],
        probabilities=run.classifier.predict_proba([str(row["text"]) for row in known]).tolist(),
        training_shares=[1 / 3] * 3,
    ).write(model / "calibration.json")
    rows = [
        {**row, "outlet": "wire" if n // 3 % 2 else "agency", "date": f"2024-0{1 + n // 6 % 3}-01", "document": n // 3}
        for n, row in enumerate(tiny_rows(360, seed=4))
    ]
    source = write_jsonl(tmp_path / "in.jsonl", [{k: v for k, v in row.items() if k != "label"} for row in rows])
    predicted = tmp_path / "out.jsonl"
    assert call("predict", source, "--model", model, "--output", predicted, "--no-drift") == cli.EXIT_OK
    capsys.readouterr()
    shares = ("shares", predicted, "--by", "outlet,month")
    found = tmp_path / "findings"
    compare = ("--compare", "wire,2024-01", "agency,2024-01")
    assert call(*shares, "--model", model, "--output", found, *compare) == cli.EXIT_OK
    said = capsys.readouterr()
    assert "Model-based" in said.err and "Shares, model-based" in said.out
    assert "wire · 2024-01 less agency · 2024-01, in points" in said.out
    assert (found / "report.html").exists() and (found / "shares_over_time.png").exists()
    assert call(*shares, "--model", model, "--output", found) == cli.EXIT_USER_ERROR
    assert "--overwrite" in capsys.readouterr().err

    audit = tmp_path / "audit.jsonl"
    plan = ("shares", predicted, "--by", "outlet", "--plan-audit", audit)
    assert call(*plan, "--half-width", "0.1", "--stratify", "label", "--model", model) == cli.EXIT_OK
    said = capsys.readouterr()
    assert "sentences in random order" in said.out and "set by" in said.out
    assert "--model is not used" in said.err
    assert call(*plan, "--half-width", "0.1") == cli.EXIT_USER_ERROR
    assert "may hold labels" in capsys.readouterr().err
    drawn = [json.loads(line) for line in audit.read_text("utf-8").splitlines()]
    assert not [name for name in drawn[0] if name.startswith("p_") or name in ("score", "outlet")]
    write_jsonl(audit, [{**row, "label": rows[row["row"] - 1]["label"]} for row in drawn])
    assert call("shares", predicted, "--by", "outlet", "--audit", audit) == cli.EXIT_OK
    assert "Shares, audited" in capsys.readouterr().out
    assert call(*shares, "--audit", audit) == cli.EXIT_OK
    said = capsys.readouterr()
    assert said.out.count("too few: under 30 audited documents in the group") == 1
    assert "audited documents)" not in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan-audit", "a.csv"], "--plan-audit needs --half-width"),
        (["--half-width", "0.1"], "go with --plan-audit"),
        (["--plan-audit", "a.csv", "--half-width", "0.1", "--audit", "b.csv"], "draws a sample and ends"),
        (["--compare", "a", "b"], "Name its columns"),
        (["--plan-audit", "a.pdf", "--half-width", "0.1"], "expected a table"),
    ],
)
def test_shares_tell_what_does_not_go_together(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("shares", tmp_path / "none.jsonl", *arguments) == cli.EXIT_USER_ERROR
    assert message in capsys.readouterr().err


def test_a_report_on_many_files_is_headed_with_their_folder() -> None:
    assert cli._names_of(["a/x.csv", "b/y.csv"]) == "x.csv, y.csv"
    assert cli._names_of([f"held_out/{place}.jsonl" for place in range(20)]) == "20 files of held_out"
    assert cli._names_of(["a/1.csv", "a/2.csv", "b/3.csv", "b/4.csv"]) == "1.csv and 3 others"
