"""The command ``conflict-framing``. Each function parses, calls and writes; the work is elsewhere."""

import argparse
import difflib
import errno
import itertools
import json
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conflict_framing.data.errors import UserError
from conflict_framing.progress import bar_progress, json_progress, log_event

if TYPE_CHECKING:
    from conflict_framing.analysis.audit import AuditPlan
    from conflict_framing.analysis.findings import Findings
    from conflict_framing.analysis.shares import Shares
    from conflict_framing.analysis.source_files import SourcesReport
    from conflict_framing.data import Corpus
    from conflict_framing.data.behaviour import BehaviourGroup
    from conflict_framing.model import CheckpointClassifier
    from conflict_framing.model.predict import PredictReport
    from conflict_framing.model.runtime import RuntimeName
    from conflict_framing.train import Comparison, Recipe, Search, Study
    from conflict_framing.train.behaviour import BehaviourResult
    from conflict_framing.train.cascade import Unlabelled
    from conflict_framing.train.compare import Pair
    from conflict_framing.train.distil import Teacher
    from conflict_framing.train.evaluation import Evaluation
    from conflict_framing.train.recipe import CascadeSettings

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER_ERROR = 2
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130

_EXIT_HELP = """\
exit statuses:
  0    done
  1    an error of this program (please report it; --debug shows where)
  2    a mistake in the command or its input; nothing was lost
  3    done, but rows were rejected (predict) or problems were found (corpus check)
  130  interrupted by Ctrl-C
"""

_FORMATS = "JSONL, CSV, TSV or Parquet, each also compressed (.gz, .zst)"

out = Console(emoji=False, highlight=False)
err = Console(stderr=True, emoji=False, highlight=False)

_SHOWN = 30  # rows of a table in the terminal
_FEW_FILES = 3  # that are named one by one above a report
# What is written, and what is read with files beside it.
_ON_DISK = ("annotations", "article", "audit", "against", "codebook", "html", "label_errors", "model", "output",
            "parts", "picture", "plan_audit", "predictions", "queue", "teacher")  # fmt: skip
_log_json = False  # whether standard error is for programs


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with one of the documented exit statuses."""
    global _log_json
    options = build_parser().parse_args(arguments)
    _log_json = getattr(options, "log_json", False)
    # Rust tokenizers warn about forks that this program does not make.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # PyTorch takes its memory anew for every step; in huge pages, the system spends half the time on that.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        _refuse_urls(options)
        status = options.run(options)
    except UserError as error:
        if options.debug:
            raise
        _complain(str(error))
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt as interrupt:
        if options.debug:
            raise
        say(str(interrupt) or "Interrupted.")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_OK)
    except Exception as error:
        if options.debug:
            raise
        if _is_full_disk(error):
            _complain(
                "No space left on the disk. Free some space, or write elsewhere with --output. "
                "A training run goes on from its last checkpoint with --resume."
            )
            sys.exit(EXIT_USER_ERROR)
        if isinstance(error, OSError) and error.filename:
            _complain(f"{error.filename}: {error.strerror}.")
            sys.exit(EXIT_USER_ERROR)
        _complain(
            f"{type(error).__name__}: {error}\nThis is an error of the program. Run again with --debug to see where."
        )
        sys.exit(EXIT_BUG)
    sys.exit(status)


def _refuse_urls(options: Any) -> None:
    """Refuse URLs where they would be taken for folders of that name: only 'predict' writes to stores."""
    from conflict_framing.data.urls import is_url, shown

    for name in set(_ON_DISK) - ({"output", "queue"} if options.run is _predict else set()):
        given = getattr(options, name, None)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and is_url(value):
                raise UserError(
                    f"{shown(value)}: expected a path on this machine, came a URL. Write here, or copy the file here. "
                    f"(URLs are taken by 'predict' for inputs, --output and --queue, elsewhere for texts and corpora.)"
                )


def _is_full_disk(error: Exception) -> bool:
    # safetensors and PyTorch wrap the system's error in their own.
    wrapped = "No space left on device" in str(error) or "PytorchStreamWriter failed" in str(error)
    return wrapped or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))


def _complain(message: str) -> None:
    if _log_json:
        log_event("error", text=message)
        return
    err.print("[bold red]error:[/]", end=" ")
    err.print(message, markup=False, soft_wrap=True)


def say(line: str) -> None:
    if _log_json:
        log_event("message", text=line)
        return
    err.print(line, markup=False, soft_wrap=True)


# --- the parser ----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, with what was probably meant; the whole usage would push it out of sight."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = list(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:  # told here, where the options of the command are known
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        unknown = self._unknown_options()
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        meant: list[str] = []
        if unknown and message.startswith(("unrecognized", "the following arguments are required")):
            message = f"there is no option {unknown[0]}."
            meant = difflib.get_close_matches(unknown[0], self._option_string_actions, 1)
        elif choice:
            meant = difflib.get_close_matches(choice[1], re.findall(r"[^\s',]+", choice[2]), 1)
        guess = f" Did you mean {meant[0]}?" if meant else ""
        _complain(f"{message.rstrip('.')}.{guess} See: {self.prog} --help")
        sys.exit(EXIT_USER_ERROR)

    def _unknown_options(self) -> list[str]:
        given = itertools.takewhile(lambda argument: argument != "--", self._given)
        names = [argument.partition("=")[0] for argument in given if re.match(r"--?[a-zA-Z]", argument)]
        known = tuple(self._option_string_actions)
        return [name for name in names if not any(option.startswith(name) for option in known)]


def build_parser() -> argparse.ArgumentParser:
    from conflict_framing import __version__

    parser = _Parser(
        prog="conflict-framing",
        description="Measure how statements frame a conflict: train a sentence classifier, evaluate it, apply it.",
        epilog="A first session:\n"
        "  conflict-framing read article.txt --html article.html          (with the model that comes with it)\n"
        "  conflict-framing train --output runs/default                   (a model of your own)\n"
        "  conflict-framing predict corpus.csv --model runs/default --output labelled.csv\n\n" + _EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"conflict-framing {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_predict(commands)
    _add_read(commands)
    _add_sources(commands)
    _add_explain(commands)
    _add_serve(commands)
    _add_export(commands)
    _add_shares(commands)
    _add_corpus(commands)
    _add_recipe(commands)
    _add_demo(commands)
    return parser


def _command(
    commands: Any, name: str, run: Callable[[Any], int], summary: str, details: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary.replace("%", "%%"),  # argparse formats it
        description=summary[0].upper() + summary[1:] + ".\n\n" + details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="RUN",
        help="a run of 'train', a model folder, or a hub name (organisation/model); default: the ready model that "
        "comes with the package",
    )
    _add_device(parser)
    _add_runtime(parser)
    parser.add_argument(
        "--cascade",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="ask the model's first stage before its graph (default: where the model has one, see 'export')",
    )


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        choices=("auto", "onnx", "torch"),
        default="auto",
        help="what computes: the model folder's graph in ONNX Runtime, or the checkpoint in PyTorch (default: auto, "
        "the graph where there is one and the device is auto or cpu)",
    )


def _classifier(options: Any) -> "CheckpointClassifier":
    from conflict_framing.model import CheckpointClassifier

    return CheckpointClassifier.from_pretrained(
        options.model, device=options.device, runtime=options.runtime, cascade=options.cascade
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, mps")


def _add_encoding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoding", default="utf-8", help="of text formats (default: utf-8), e.g. cp1252, utf-16")


def _add_articles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--outlet", metavar="NAME", help="who published the articles in files of their own (default: as datelines tell)"
    )
    parser.add_argument("--year", type=_year, metavar="YYYY", help="of datelines that tell a day and no year")


def _add_columns(parser: argparse.ArgumentParser, label: bool) -> None:
    parser.add_argument(
        "--text-column", default="text", metavar="NAME", help="the column with the sentences (default: text)"
    )
    if label:
        parser.add_argument(
            "--label-column", default="label", metavar="NAME", help="the column with the labels (default: label)"
        )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at --output")


def _add_among(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--among",
        metavar="LABEL,…",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        help="choose among these labels only, probabilities renormalised, e.g. the three framings without none",
    )


# --- train ---------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    parser = _command(
        commands,
        "train",
        _train,
        "fine-tune a classifier on annotated sentences",
        f"""\
The corpus is one or more files ({_FORMATS}) with the columns
text and label; document keeps the sentences of one document together in the split, group those
of a contrast pair, and split (train, validation, calibration, test) fixes the split yourself. Labels may be
the bundled ones or your own. Without --corpus, the bundled corpus is used.

examples:
  conflict-framing train --output runs/default
  conflict-framing train --corpus my.csv --output runs/mine --set training.epochs=4
  conflict-framing train --recipe smoke --output runs/smoke           (seconds, to see it work)
  conflict-framing train --resume --output runs/default               (after Ctrl-C or a crash)
  conflict-framing train --recipe distilled --teacher runs/accurate --unlabelled news/*.txt --output runs/small
  conflict-framing train --held-out register --output runs/registers  (how good on unseen registers)
  conflict-framing train --seeds 3 --output runs/seeds                (how much is chance)
  conflict-framing train --search 60 --output runs/searched           (find the settings, in an hour)
  accelerate launch -m conflict_framing train --output runs/default   (several GPUs)
  torchrun --nproc-per-node 2 -m conflict_framing train --device cpu --output runs/default  (two processes)

--folds, --held-out and --seeds train several times and measure on what was held out, with 95 %
intervals over documents; --output is then a folder of runs with study.md and study.json.

--search tries learning rates, numbers of frozen layers and of passes, the recipe's own first, and
trains with what was best on the validation part; the trials are told in RUN.search/search.md.
""",
    )
    parser.add_argument("--output", required=True, metavar="RUN", help="folder for the run: model, report, splits, log")
    parser.add_argument(
        "--recipe",
        default="default",
        metavar="NAME|FILE",
        help="default, smoke, accurate, distilled, or a YAML file of changes to default",
    )
    parser.add_argument(
        "--corpus", nargs="+", default=[], metavar="FILE", help="annotated sentences (default: the bundled corpus)"
    )
    parser.add_argument("--codebook", metavar="FILE", help="YAML with your labels, their order and definitions")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=v", help="change one setting of the recipe; can be repeated"
    )
    parser.add_argument(
        "--teacher", metavar="RUN", help="also learn from the probabilities of this model (a run, a folder, a hub name)"
    )
    parser.add_argument(
        "--unlabelled",
        nargs="+",
        default=[],
        metavar="FILE",
        help="text of your own domain, without labels, for the teacher to teach on: text files or tables",
    )
    parser.add_argument(
        "--unlabelled-column", default="text", metavar="NAME", help="the column of --unlabelled tables (default: text)"
    )
    parser.add_argument("--folds", type=_at_least(2), metavar="N", help="cross-validate: N folds, documents kept whole")
    parser.add_argument(
        "--held-out",
        metavar="COLUMN",
        help="hold the values of a column out whole (register, theatre): each is tested by a model that never saw "
        "it; in 5 folds, or --folds",
    )
    parser.add_argument(
        "--against", metavar="RUN", help="with --held-out: tell the drop from this run, whose split is random"
    )
    parser.add_argument(
        "--seeds", type=_at_least(1), default=1, metavar="N", help="train each with N seeds (default: 1)"
    )
    parser.add_argument(
        "--search",
        type=_minutes,
        metavar="MINUTES",
        help="search learning_rate, freeze_layers and epochs for so long, the final training included; the minutes "
        "stand in for training.max_sentences",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished run at --output")
    _add_columns(parser, label=True)
    _add_encoding(parser)
    _add_device(parser)
    _add_overwrite(parser)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, came {text!r}")
        return int(text)

    return number


def _year(text: str) -> int:
    if not (text.isdecimal() and len(text) == 4):
        raise argparse.ArgumentTypeError(f"expected a year, e.g. 2023, came {text!r}")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"expected minutes, a number above 0, came {text!r}")
    return minutes


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, came {text!r}")
    return share


def _train(options: Any) -> int:
    from conflict_framing.data import load_corpus
    from conflict_framing.train.recipe import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    corpus = load_corpus(
        *options.corpus,
        codebook=options.codebook,
        text_column=options.text_column,
        label_column=options.label_column,
        encoding=options.encoding,
    )
    from conflict_framing.train import Interrupted, run_study, train_run

    if os.environ.get("RANK", "0") != "0":  # of the processes of one training, the first alone speaks
        out.quiet = True
    several = options.folds or options.held_out or options.seeds > 1
    if options.unlabelled and not options.teacher:
        raise UserError("--unlabelled needs a --teacher that labels it: a run, a model folder or a hub name.")
    if options.against and not options.held_out:
        raise UserError("--against goes with --held-out: it tells how much worse held-out values are than a plain run.")
    if several and options.teacher:
        raise UserError(
            "--teacher does not go with --folds, --held-out or --seeds: its training saw the test sentences."
        )
    if several and options.search:
        raise UserError(
            "--search does not go with --folds, --held-out or --seeds: search first, then give what was found to them "
            "with --recipe RUN/recipe.yaml."
        )
    common = {"device": options.device, "resume": options.resume, "overwrite": options.overwrite, "say": say}
    try:
        if several:
            study = run_study(
                corpus,
                recipe,
                options.output,
                folds=options.folds,
                held_out=options.held_out,
                seeds=options.seeds,
                against=options.against,
                **common,
            )
            print_study(study)
            out.print(f"report  {Path(options.output) / 'study.md'}", soft_wrap=True)
            return EXIT_OK
        teacher = _teacher(options, corpus, recipe) if options.teacher else None
        if options.search:
            from conflict_framing.train import run_search

            search = run_search(corpus, recipe, options.output, minutes=options.search, teacher=teacher, **common)
            print_search(search)
            run = search.run
        else:
            run = train_run(corpus, recipe, options.output, teacher=teacher, **common)
    except (Interrupted, KeyboardInterrupt) as stopped:
        where = f" The last checkpoint is in {stopped}." if isinstance(stopped, Interrupted) else ""
        say(f"Stopped.{where} {_how_to_go_on()}")
        return EXIT_INTERRUPTED
    if run.evaluation:
        print_evaluation(run.evaluation)
        out.print(f"report  {run.layout.evaluation / 'report.html'}", soft_wrap=True)
    out.print(f"model   {run.layout.model}", soft_wrap=True)
    return EXIT_OK


def _how_to_go_on() -> str:
    command = [argument for argument in sys.argv[1:] if argument not in ("--resume", "--overwrite")]
    return f"Go on with: conflict-framing {shlex.join(command)} --resume"


def _teacher(options: Any, corpus: "Corpus", recipe: "Recipe") -> "Teacher":
    from conflict_framing.train.distil import load_teacher

    return load_teacher(
        options.teacher,
        options.unlabelled,
        corpus,
        recipe,
        text_column=options.unlabelled_column,
        encoding=options.encoding,
        device=options.device,
        say=say,
    )


def print_study(study: "Study") -> None:
    """The pooled figures of every seed, then those of every held-out value."""
    for title, rows in (("", study.seeds), ("held out", study.values[:_SHOWN])):
        if not rows:
            continue
        table = Table(title=study.question if not title else None, title_justify="left", box=None, pad_edge=False)
        names = (title, "sentences", "macro-F1", "95 % interval", "accuracy")
        for name in (*names, *(f"F1 {label}" for label in study.labels if not title)):
            table.add_column(escape(name), justify="right" if table.columns else "left", no_wrap=True)
        for row in rows:
            figures = [f"{row.macro_f1:.3f}", row.interval, f"{row.accuracy:.3f}"]
            per_label = [f"{value:.3f}" for value in row.f1] if not title else []
            table.add_row(escape(row.name), f"{row.n:,}", *figures, *per_label)
        _wide(study.labels).print(table, "")
    if len(study.values) > _SHOWN:
        say(f"… and {len(study.values) - _SHOWN} more with fewer sentences, in the report.")
    if study.spread is not None:
        out.print(f"macro-F1 over {len(study.seeds)} seeds: {study.mean:.3f} ± {study.spread:.3f} (SD)")
    if study.drop:
        out.print(study.drop, soft_wrap=True)


def print_search(search: "Search") -> None:
    """The trials, the chosen one in bold."""
    table = Table(title="Trials, on the validation part", title_justify="left", box=None, pad_edge=False)
    for name in search.columns:
        table.add_column(name, justify="right" if name else "left")
    for trial, row in zip(search.trials, search.rows, strict=True):
        table.add_row(*row, style="bold" if trial is search.chosen else "")
    out.print(table, "")


# --- evaluate ------------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "measure a model on labelled sentences, beside baselines, and on behaviour tests",
        f"""\
DATA is one or more labelled files ({_FORMATS}). Beside the model stand a majority guess,
TF-IDF and frozen embeddings (each with logistic regression), trained on the training split that
the run keeps. With --output: report.html (one page for screen and paper), and beside it report.md,
metrics.json, confusion_matrix.png, predictions.jsonl.

--behaviour asks whether the model does what the codebook says, in sentences made to show it: other
actors, places, dates or spelling change no label (invariance); "no longer" or "far from" do change
it (directional); each rule is kept (minimum functionality). Prints how many groups of sentences
passed, with exact 95 % intervals, and the sentences that failed; with --output also behaviour.json
and behaviour.jsonl. A failed test is a measurement, no error: the exit status stays 0.

Without FILE: the bundled tests. Your own are JSONL, one group a line, kinds mixed as you like:
  {{"id": "a1", "kind": "invariance", "capability": "actors",
   "base": "Rebels shelled the port.", "variants": ["The army shelled the port."]}}
  {{"id": "a2", "kind": "directional", "capability": "no longer", "base": "The road is safe.",
   "base_label": "stabilisation_claim", "changed": "The road is no longer safe.",
   "expected": "escalation_report"}}
  {{"id": "a3", "kind": "minimum_functionality", "capability": "patrols",
   "cases": [{{"text": "Police patrol the port.", "label": "operational_description"}}]}}
(each on one line).

examples:
  conflict-framing evaluate annotated.csv --model runs/default --output runs/check
  conflict-framing evaluate --behaviour --model runs/default
  conflict-framing evaluate annotated.csv --behaviour my_tests.jsonl --model runs/mine --output runs/check
""",
    )
    parser.add_argument("data", nargs="*", metavar="DATA", help="labelled sentences")
    parser.add_argument(
        "--behaviour", nargs="*", metavar="FILE", help="run behaviour tests: the bundled ones, or those of these files"
    )
    _add_model(parser)
    parser.add_argument("--output", metavar="DIR", help="folder for the report")
    parser.add_argument("--no-baselines", action="store_true", help="measure the model alone")
    _add_columns(parser, label=True)
    _add_encoding(parser)
    _add_overwrite(parser)


def _evaluate(options: Any) -> int:
    from conflict_framing.data.behaviour import load_behaviour

    if not options.data and options.behaviour is None:
        raise UserError("Nothing to evaluate on. Name labelled files, or run behaviour tests with --behaviour.")
    output = Path(options.output) if options.output else None
    if output is not None and output.exists() and not options.overwrite:
        raise UserError(f"{output} exists. Name another --output, or replace it with --overwrite.")
    classifier = _classifier(options)
    groups = None
    if options.behaviour is not None:
        groups = load_behaviour(*options.behaviour, codebook=classifier.codebook, encoding=options.encoding)
    if options.data:
        _evaluate_data(options, classifier, groups or (), output)
    elif groups is not None:
        from conflict_framing.train.behaviour import run_behaviour, write_behaviour

        say(f"Running {len(groups):,} groups of behaviour tests …")
        result = run_behaviour(classifier, groups)
        print_behaviour(result)
        if output is not None:
            write_behaviour(result, output)
            out.print(f"behaviour  {output / 'behaviour.json'}", soft_wrap=True)
    return EXIT_OK


def _evaluate_data(
    options: Any, classifier: "CheckpointClassifier", groups: "Sequence[BehaviourGroup]", output: Path | None
) -> None:
    from conflict_framing.data import load_corpus

    corpus = load_corpus(
        *options.data,
        codebook=classifier.codebook,
        text_column=options.text_column,
        label_column=options.label_column,
        encoding=options.encoding,
    )
    from conflict_framing.train.evaluation import evaluate_run, run_of
    from conflict_framing.train.report import write_evaluation

    say(f"Evaluating on {len(corpus):,} sentences …")
    evaluation = evaluate_run(
        run_of(options.model),
        corpus,
        classifier,
        name=_names_of(options.data),
        baselines=not options.no_baselines,
        behaviour=groups,
        device=options.device,
    )
    print_evaluation(evaluation, brief=False)
    if output is not None:
        report = write_evaluation(evaluation, output)
        out.print(f"report  {report}", soft_wrap=True)


def _names_of(paths: "Sequence[str]") -> str:
    """What a report is headed with: the names of the files, or of their folder where they are many."""
    names = [Path(path).name for path in paths]
    if len(names) <= _FEW_FILES:
        return ", ".join(names)
    folders = {Path(path).absolute().parent.name for path in paths}
    return f"{len(names)} files of {folders.pop()}" if len(folders) == 1 else f"{names[0]} and {len(names) - 1} others"


def print_evaluation(evaluation: "Evaluation", brief: bool = True) -> None:
    """The headline table, the per-label table and the behaviour tests; those by capability unless brief."""
    table = Table(title=f"{evaluation.data} (n = {evaluation.n:,})", title_justify="left", box=None, pad_edge=False)
    for name in ("classifier", "macro-F1", "95 % interval", "accuracy", "MCC", "ECE"):
        table.add_column(name, justify="left" if name == "classifier" else "right")
    for scored in (evaluation.model, *evaluation.baselines):
        style = "bold" if scored is evaluation.model else ""
        macro_f1, *others = (f"{scored.metrics[key]:.3f}" for key in ("macro_f1", "accuracy", "mcc", "ece"))
        table.add_row(scored.name, macro_f1, _interval(scored.metrics["intervals"]["macro_f1"]), *others, style=style)
    labels = Table(box=None, pad_edge=False)
    for name in ("label", "precision", "recall", "F1", "95 % interval", "support"):
        labels.add_column(name, justify="left" if name == "label" else "right", no_wrap=name == "label")
    metrics = evaluation.model.metrics
    for place, name in enumerate(evaluation.codebook.label_names):
        figures = (f"{metrics[key][place]:.3f}" for key in ("precision", "recall", "f1"))
        bounds = _interval(metrics["intervals"]["f1"][place])
        labels.add_row(name, *figures, bounds, f"{metrics['support'][place]:,}")
    for part in (table, "", labels, ""):
        out.print(part)
    if evaluation.behaviour:
        print_behaviour(evaluation.behaviour, brief)
    for note in evaluation.notes:
        say(f"note: {note}")


def print_behaviour(result: "BehaviourResult", brief: bool = False) -> None:
    """Passed groups by kind and, unless brief, by capability, then the first failing sentences."""
    table = Table(title="Behaviour tests", title_justify="left", box=None, pad_edge=False)
    for name in ("kind", "capability", "groups", "passed", "rate", "95 % interval", "target"):
        table.add_column(name, justify="left" if name in ("kind", "capability") else "right", no_wrap=True)
    for kind in result.kinds:
        for tally in (kind, *(() if brief else result.capabilities(kind.kind))):
            table.add_row(
                tally.kind.replace("_", " ") if tally is kind else "",
                "all" if tally is kind else escape(tally.capability or ""),
                f"{tally.groups:,}",
                f"{tally.passed:,}",
                f"{tally.rate:.3f}",
                _interval(tally.interval),
                f"{tally.target:.2f} {'reached' if tally.reached else 'missed'}",
                style="bold" if tally is kind else "",
            )
    longest = max((outcome.capability for outcome in result.outcomes), key=len, default="")
    _wide(["capability", longest]).print(table, "")
    rows = [] if brief else list(result.rows())
    for row in rows[:_SHOWN]:
        came = f"{row['id']} ({row['capability']}): expected {row['expected']}, came {row['label']} {row['score']:.2f}"
        out.print(f"{came}\n  {row['text']}", markup=False, soft_wrap=True)
    if len(rows) > _SHOWN:
        say(f"… and {len(rows) - _SHOWN:,} more failing sentences; --output keeps them all.")
    for note in result.notes:
        say(f"note: {note}")


def _wide(labels: Sequence[str]) -> Console:
    """For tables with a column per label, which are read better scrolled or piped than cut."""
    return Console(emoji=False, highlight=False, width=max(out.width, 70 + sum(len(name) + 5 for name in labels)))


def _interval(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.3f}–{bounds[1]:.3f}"


# --- compare -------------------------------------------------------------------------------------


def _add_compare(commands: Any) -> None:
    parser = _command(
        commands,
        "compare",
        _compare,
        "tell which of several models is better, and how sure that is",
        f"""\
All models label the sentences of one labelled file ({_FORMATS}).
For every two of them (with more than three models: the first with each other one) this prints the
difference in macro-F1 and in the F1 of every label with 95 % intervals (paired bootstrap over
documents), McNemar's test, and the sentences on which they differ, those first on which one of them
is surest. The columns document and group say which sentences belong together. With --output:
compare.json, compare.md, differences.jsonl (all sentences on which not all models agree).

examples:
  conflict-framing compare runs/default runs/accurate --data annotated.csv
  conflict-framing compare runs/mine organisation/model --data annotated.csv --output runs/comparison
""",
    )
    parser.add_argument(
        "model", nargs="+", metavar="RUN", help="two or more: runs of 'train', model folders, or hub names"
    )
    parser.add_argument("--data", required=True, metavar="FILE", help="labelled sentences that no model was trained on")
    parser.add_argument("--output", metavar="DIR", help="folder for the report")
    parser.add_argument(
        "--sentences",
        type=_at_least(0),
        default=10,
        metavar="N",
        help="show so many sentences on which two models differ (default: 10)",
    )
    _add_columns(parser, label=True)
    _add_encoding(parser)
    _add_device(parser)
    _add_overwrite(parser)


def _compare(options: Any) -> int:
    from conflict_framing.data import load_corpus
    from conflict_framing.data.tables import require_file

    output = Path(options.output) if options.output else None
    if output is not None and output.exists() and not options.overwrite:
        raise UserError(f"{output} exists. Name another --output, or replace it with --overwrite.")
    require_file(options.data)
    from conflict_framing.train.compare import compare_classifiers, load_contenders, write_comparison

    contenders = load_contenders(options.model, device=options.device)
    corpus = load_corpus(
        options.data,
        codebook=contenders[0].classifier.codebook,
        text_column=options.text_column,
        label_column=options.label_column,
        encoding=options.encoding,
    )
    say(f"Comparing {len(contenders)} models on {len(corpus):,} sentences …")
    comparison = compare_classifiers(contenders, corpus, data=Path(options.data).name)
    print_comparison(comparison, options.sentences)
    if output is not None:
        write_comparison(comparison, output)
        out.print(f"report  {output / 'compare.md'}", soft_wrap=True)
    return EXIT_OK


def print_comparison(comparison: "Comparison", sentences: int) -> None:
    """The models, then for every two their differences, the test, and sentences on which they differ."""
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    title = f"{comparison.data}: {comparison.n:,} sentences in {comparison.documents:,} documents"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "model", "macro-F1", "95 % interval", "accuracy"):
        table.add_column(name, justify="left" if name in ("", "model") else "right", overflow="fold")
    for letter, figures in zip(comparison.letters, comparison.classifiers, strict=True):
        macro_f1, accuracy = f"{figures.macro_f1:.3f}", f"{figures.accuracy:.3f}"
        table.add_row(letter, escape(figures.name), macro_f1, figures.interval, accuracy)
    out.print(table, "")
    for pair in comparison.pairs:
        out.print(comparison.verdict(pair), style="bold", soft_wrap=True)
        if pair.n_differing:
            _print_pair(comparison, pair, sentences)
        out.print("")
    for note in comparison.notes:
        say(f"note: {note}")


def _print_pair(comparison: "Comparison", pair: "Pair", sentences: int) -> None:
    first, second = (comparison.letters[place] for place in (pair.first, pair.second))
    table = Table(box=None, pad_edge=False)
    for name in (f"above 0: {first} is better", pair.name, "95 % interval"):
        table.add_column(name, justify="right" if table.columns else "left", no_wrap=True)
    for name, found in comparison.rows(pair):
        interval = "too few documents" if comparison.few else f"{found.low:+.3f} to {found.high:+.3f}"
        table.add_row(escape(name), f"{found.value:+.3f}", interval)
    out.print(table)
    out.print(comparison.test(pair), soft_wrap=True)
    shown = comparison.most_confident(pair, sentences)
    if shown:
        out.print(f"\n{pair.n_differing:,} sentences get different labels; shown: {len(shown):,}, the surest first")
    for number, row in enumerate(shown, start=1):
        labels = [
            f"{letter} {row.labels[place]} {row.scores[place]:.2f}{' ✓' * (row.labels[place] == row.sentence.label)}"
            for letter, place in ((first, pair.first), (second, pair.second))
        ]
        out.print(f"{number:3}. {row.sentence.text}", markup=False, soft_wrap=True)
        out.print(f"     annotated {row.sentence.label}; {'; '.join(labels)}", markup=False, soft_wrap=True)


# --- predict and read ----------------------------------------------------------------------------


def _add_predict(commands: Any) -> None:
    parser = _command(
        commands,
        "predict",
        _predict,
        "label every sentence of files",
        f"""\
INPUT is text files (.txt, .md: articles, split into sentences), tables
({_FORMATS}), folders (all such files in them, at any
depth), quoted patterns ('news/**/*.csv') or - for standard input. The name of --output says its format.
Both may be URLs of stores that fsspec knows (s3://, gs://, az:// …); each needs its library (pip install s3fs,
gcsfs, adlfs), which finds the credentials in the environment or a profile, never in the URL.
Articles become rows with document, sentence, start, end (in characters), kind (headline, heading, body),
outlet, date, place, text. Dateline (KYIV, May 3 (Agency) —) and byline (By Anna Rossi) are cut off; they tell
place, outlet and, where the year is known, the date.
The input's columns are kept (one whose name is taken becomes input_<name>), then come label, score,
p_<label>…, abstained, truncated. Rows stay in order. Rows without usable text go to
OUTPUT.rejected.jsonl with the reason, and the exit status is 3; so does a file that cannot be read (another
encoding, damaged), as one row, while the others are labelled. OUTPUT.meta.json tells the model,
the options, the counts, and how the input compares with the text that the model was trained on.

--abstain and --max-error mark unsure rows in the column abstained; their label stays, as a guess.
--max-error 0.05 sets the threshold so that, with 95 % confidence, at most 5 % of the answered are
wrong; that holds for text like the corpus, and OUTPUT.meta.json tells where it does not. --queue
collects the least sure abstained rows in a table with an empty column label, for people to fill.

Where the model folder has a first stage (see 'export --cascade'), it answers the rows that it is sure
of, many times faster than the graph, and OUTPUT.meta.json tells how many, and what share of labels
changes at most. With --among it is left out.

--adapt-priors estimates the share of each label in the input and adapts the probabilities to it. It
assumes that within a label the sentences look as in training.

What is labelled is kept in OUTPUT.partial until all is; then the output appears at once. After Ctrl-C, a
crash, a full disk or a power cut the same command with --resume goes on (it begins where nothing was
begun), and the output is byte for byte that of an uninterrupted run.

examples:
  conflict-framing predict articles/*.txt --output labelled.jsonl
  conflict-framing predict herald/ --outlet Herald --year 2023 --output herald.jsonl
  conflict-framing predict news.csv --model runs/default --output sure.csv --max-error 0.05 --queue unsure.csv
  conflict-framing predict statements.csv --text-column statement --model runs/default --output labelled.parquet
  conflict-framing predict archive/ --model runs/default --output archive.parquet --resume --log-json 2> log.jsonl
  conflict-framing predict 's3://bucket/press/*.jsonl.gz' --output s3://bucket/labelled.parquet --engine ray
  zcat big.jsonl.gz | conflict-framing predict - --format jsonl --model runs/default --output labelled.csv.gz
""",
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="files, folders, patterns; - is standard input")
    _add_model(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="predictions: .jsonl, .csv, .tsv (each also .gz or .zst) or .parquet",
    )
    parser.add_argument(
        "--format",
        choices=("text", "jsonl", "csv", "tsv", "parquet"),
        help="of the input, where its name does not say (standard input: text)",
    )
    _add_columns(parser, label=False)
    _add_articles(parser)
    _add_among(parser)
    parser.add_argument("--abstain", type=_share, metavar="SCORE", help="abstain below this score, e.g. 0.8")
    parser.add_argument(
        "--max-error", type=_share, metavar="SHARE", help="abstain so that at most this share of the answered is wrong"
    )
    parser.add_argument("--queue", metavar="FILE", help="table of the least sure abstained rows, for people to label")
    parser.add_argument(
        "--queue-size", type=_at_least(1), default=1000, metavar="N", help="at most so many rows in it (default: 1000)"
    )
    parser.add_argument(
        "--adapt-priors", action="store_true", help="adapt the probabilities to the label shares of the input"
    )
    parser.add_argument(
        "--no-drift", action="store_true", help="do not compare the input with the text that the model was trained on"
    )
    parser.add_argument(
        "--batch-size", type=_at_least(1), default=None, metavar="N", help="sentences per forward pass (default: 32)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished work on --output")
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: several processes, or the machines of a Ray cluster that share a disk (needs the extra [ray])",
    )
    parser.add_argument(
        "--workers", type=_at_least(1), default=None, metavar="N", help="processes of --engine ray (default: 2)"
    )
    parser.add_argument(
        "--log-json", action="store_true", help="progress and messages as JSON lines on standard error, without a bar"
    )
    _add_encoding(parser)
    _add_overwrite(parser)


def _predict(options: Any) -> int:
    from conflict_framing.data.files import partial_of
    from conflict_framing.data.urls import place_of
    from conflict_framing.model.predict import PredictOptions, check_paths, predict_files

    reading = PredictOptions(
        text_column=options.text_column,
        encoding=options.encoding,
        input_format=options.format,
        outlet=options.outlet,
        year=options.year,
        among=options.among,
        abstain_below=options.abstain,
        max_error=options.max_error,
        adapt_priors=options.adapt_priors,
        queue=place_of(options.queue) if options.queue else None,
        queue_size=options.queue_size,
        drift=not options.no_drift,
        runtime={name: getattr(options, name) for name in ("runtime", "device", "batch_size", "cascade")},
    )
    writing = {"options": reading, "overwrite": options.overwrite, "resume": options.resume}
    check_paths(options.input, options.output, **writing)
    if options.workers and options.engine != "ray":
        raise UserError("--workers goes with --engine ray.")
    load = partial(
        _load_classifier, options.model, options.device, options.runtime, options.batch_size, options.cascade
    )
    classifier = load()
    engine = None
    if options.engine == "ray":
        from conflict_framing.model.ray_engine import RayEngine

        engine = RayEngine(load, options.workers or 2)
    if str(options.output).lower().startswith("memory://"):
        say("note: memory:// is this process's memory, and what is written there is gone when the command ends.")
    started = time.monotonic()
    try:
        with json_progress() if options.log_json else bar_progress(err) as on_progress:
            report = predict_files(
                classifier, options.input, options.output, **writing, engine=engine, on_progress=on_progress
            )
    except KeyboardInterrupt as stopped:
        begun = partial_of(place_of(options.output)).exists()
        raise KeyboardInterrupt(f"{stopped} {_how_to_go_on()}" if begun else str(stopped)) from None
    if report.resumed:
        say(f"{report.resumed:,} of {report.read:,} rows had been labelled before.")
    counts = ", ".join(f"{name} {report.labels[name]:,}" for name in options.among or classifier.classes_)
    out.print(f"{report.written:,} rows to {report.output}: {counts}", soft_wrap=True, markup=False)
    _say_dates_missing(report)
    if report.truncated:
        say(
            f"{report.truncated:,} rows were longer than {classifier.facts.max_length} tokens "
            f"and were cut (column truncated)."
        )
    if report.cascade:
        answered = f"The first stage answered {report.by_first_stage:,} rows, the graph the rest"
        if report.void:
            void = "; ".join(report.void)
            say(f"{answered}. What is promised of its labels does not hold here ({void}): see --no-cascade.")
        else:
            say(f"{answered}: {report.cascade.promise}.")
    _print_abstention(report)
    _print_priors(report, classifier.classes_)
    if report.drift and report.drift.warning:
        say(f"warning: {report.drift.warning}")
    if reading.drift and report.drift is None and report.written:
        say("note: this model keeps no sample of its training text, so nothing tells whether the input is like it.")
    if classifier.lacks_graph and options.runtime == "auto":
        say(
            f"note: this model has no graph, so PyTorch labelled, which takes longer. Make one: conflict-framing "
            f"export --model {shlex.quote(str(options.model))}"
        )
    if report.rejected:
        say(f"{report.rejected:,} of {report.read:,} rows rejected; each with its reason in {report.rejected_file}")
    _say_left_out(report.left_out)
    if options.log_json:
        facts = {name: getattr(report, name) for name in ("read", "written", "rejected", "truncated", "abstained")}
        log_event("done", output=str(report.output), **facts, seconds=round(time.monotonic() - started, 1))
    return EXIT_INCOMPLETE if report.rejected else EXIT_OK


def _say_left_out(files: Mapping[str, str]) -> None:
    for name, reason in itertools.islice(files.items(), _SHOWN):
        say(f"{name}: {reason}")
    if len(files) > _SHOWN:
        say(f"… and {len(files) - _SHOWN:,} more files that were left out.")


def _say_dates_missing(report: "PredictReport | SourcesReport") -> None:
    from conflict_framing.data.articles import dates_missing, years_missing

    for note in (
        years_missing(report.without_year, report.articles),
        dates_missing(report.without_date, report.articles),
    ):
        if note:
            say(f"note: {note}")


def _load_classifier(
    model: str | None, device: str, runtime: "RuntimeName", batch_size: int | None, cascade: bool | None
) -> "CheckpointClassifier":
    from conflict_framing.model import CheckpointClassifier

    classifier = CheckpointClassifier.from_pretrained(model, device=device, runtime=runtime, cascade=cascade)
    if batch_size:
        classifier.batch_size = batch_size
    return classifier


def _print_abstention(report: "PredictReport") -> None:
    if report.abstention is None:
        return
    say(report.abstention.describe())
    guarantee = report.abstention.guarantee(report.void)
    if guarantee.startswith("void"):
        say(f"This promise is {guarantee}.")
    out.print(f"{report.abstained:,} of {report.written:,} rows abstained (column abstained; their label is a guess)")
    if report.queue:
        out.print(f"queue  {report.queue}: {report.queued:,} rows to label", soft_wrap=True, markup=False)


def _print_priors(report: "PredictReport", labels: Sequence[str]) -> None:
    """The estimated label shares beside those that the model expects."""
    if report.priors is None:
        return
    table = Table(title="Label shares, by EM", title_justify="left", box=None, pad_edge=False)
    for name in ("label", "estimated here", "95 % interval", "of the model"):
        table.add_column(name, justify="left" if name == "label" else "right", no_wrap=True)
    intervals = report.priors.intervals
    for place, name in enumerate(labels):
        bounds = "–" if intervals is None else _interval(intervals[place])
        table.add_row(escape(name), f"{report.priors.shares[place]:.3f}", bounds, f"{report.priors.source[place]:.3f}")
    out.print(table)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[..., None]]:
    """A progress bar where there is a terminal; gives what is called with how much is done and how much there is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}  left"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total=None: bar.update(task, completed=done, total=total)


def _add_read(commands: Any) -> None:
    parser = _command(
        commands,
        "read",
        _read,
        "show an article with its sentences coloured by framing",
        """\
In the terminal, and with --html as one self-contained page with legend, counts and the
probabilities on hover. --explain also shades the words by how far they moved the model, which takes
about a second a sentence (see conflict-framing explain --help). --sources also shows who each sentence
is attributed to (see conflict-framing sources --help). ARTICLE is a text or an HTML file.

examples:
  conflict-framing read article.txt --html article.html
  conflict-framing read article.html --model runs/default --sources --html read.html
  conflict-framing read article.txt --model runs/default --explain --html article.html
""",
    )
    parser.add_argument("article", metavar="ARTICLE", help="a text file, also gzipped, or .html; - is standard input")
    _add_model(parser)
    parser.add_argument("--html", metavar="FILE", help="write the page there")
    parser.add_argument("--explain", action="store_true", help="also show which words moved the model")
    parser.add_argument("--sources", action="store_true", help="also show who says it (needs the extra analysis)")
    _add_among(parser)
    _add_encoding(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at --html")


def _read(options: Any) -> int:
    from conflict_framing.analysis import Article, is_html, print_reading, read_article, read_articles, to_html
    from conflict_framing.data.tables import display_name, format_of, require_file

    page = Path(options.html) if options.html else None
    if page is not None and page.exists() and not options.overwrite:
        raise UserError(f"{page} exists. Name another --html, or replace it with --overwrite.")
    if options.article != "-":
        require_file(options.article)
        if page is not None and page.exists() and page.samefile(options.article):
            raise UserError(f"{page} is the article itself. Name another --html.")
        if not is_html(options.article) and format_of(options.article) != "text":
            raise UserError(f"{options.article} is a table; 'read' shows one article. Label tables with 'predict'.")
    (article,) = (a for a in read_articles([options.article], encoding=options.encoding) if isinstance(a, Article))
    classifier = _classifier(options)
    title = display_name(options.article) if options.article == "-" else Path(options.article).name
    with _bar("Explaining", "sentences") if options.explain else nullcontext(_nothing) as on_progress:
        reading = read_article(
            article,
            classifier,
            title=title,
            among=options.among,
            explained=options.explain,
            sources=options.sources,
            on_progress=on_progress,
        )
    print_reading(reading, out)
    rough = sum(not explanation.complete for explanation in reading.explanations or ())
    if rough:
        say(f"warning: the attributions of {rough} of {len(reading.sentences)} sentences are rough.")
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(to_html(reading), "utf-8")
        out.print(f"page  {page}", soft_wrap=True)
    return EXIT_OK


def _add_sources(commands: Any) -> None:
    parser = _command(
        commands,
        "sources",
        _sources,
        "tell who says each sentence of articles",
        f"""\
INPUT is text files, HTML files, tables ({_FORMATS}), folders of them, or - for standard
input. A row of a table is an article, unless rows share a document: then rows are its sentences.
Articles become a table with a sentence a row: document, sentence, start, end, kind (headline, heading,
body), outlet, date, place, text. A table of sentences, such as a file that 'predict' wrote, keeps its
rows and columns. Then come
  source        the fullest name of the speaker or institution in the document; empty in the outlet's own
                voice; 'unnamed' where the text points to a source without naming it ("it is said that")
  source_type   government_or_military, armed_group, international_organisation, ngo, media, civilian, unknown
  source_start, source_end   where the sentence names it, in characters of the column text
  source_cue    the reporting verb or phrase
Dateline (KYIV, May 3 (Agency) —) and byline (By Anna Rossi) are cut off; place, outlet and, where the year is
known, the date are taken from them where not given. Works before 'predict' or after it, and needs no model but:
pip install "conflict-framing[analysis]"

examples:
  conflict-framing sources articles/ --output sentences.jsonl
  conflict-framing sources news.csv --document-column id --headline-column title --output sentences.csv
  conflict-framing sources labelled.jsonl --output labelled_with_sources.jsonl
""",
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="files and folders; - is standard input")
    parser.add_argument("--output", required=True, metavar="FILE", help="a table: .jsonl, .csv, .tsv or .parquet")
    parser.add_argument(
        "--format",
        choices=("text", "jsonl", "csv", "tsv", "parquet"),
        help="of the input, where its name does not say (standard input: text)",
    )
    for name in ("text", "document", "outlet", "date", "place", "headline"):
        parser.add_argument(
            f"--{name}-column",
            default=name,
            metavar="NAME",
            help=f"the column of the {name} in tables (default: {name})",
        )
    _add_articles(parser)
    _add_encoding(parser)
    _add_overwrite(parser)


def _sources(options: Any) -> int:
    from conflict_framing.analysis import ArticleColumns, source_files

    columns = ArticleColumns(
        options.text_column,
        options.document_column,
        options.outlet_column,
        options.date_column,
        options.place_column,
        options.headline_column,
    )
    with _bar("Reading", "articles") as on_progress:
        report = source_files(
            options.input,
            options.output,
            columns=columns,
            encoding=options.encoding,
            format=options.format,
            outlet=options.outlet,
            year=options.year,
            overwrite=options.overwrite,
            on_progress=on_progress,
        )
    counts = ", ".join(f"{name or 'own voice'} {count:,}" for name, count in report.types.most_common())
    out.print(
        f"{report.sentences:,} sentences of {report.articles:,} articles to {report.output}: {counts}",
        soft_wrap=True,
        markup=False,
    )
    _say_dates_missing(report)
    for bad in report.problems:
        say(f"{bad.place}: {bad.reason}")
    if report.rejected:
        say(f"{report.rejected:,} rows or whole files were left out.")
        return EXIT_INCOMPLETE
    return EXIT_OK


def _nothing(done: int, total: int) -> None:
    pass


def _add_explain(commands: Any) -> None:
    from conflict_framing.model.explain import MOST_STEPS, STEPS, TOLERANCE

    parser = _command(
        commands,
        "explain",
        _explain,
        "show which words moved the model",
        f"""\
Each TEXT is one sentence. Every word gets an attribution by integrated gradients (Sundararajan, Taly
and Yan 2017): how far it moved the log-odds of the label, against the same sentence with blanks for
its words. They sum to the whole change but for a gap, which is told; where it is above {TOLERANCE:.0%}, the steps
are doubled, up to {MOST_STEPS}. It says what moved the model, not why the label is right.

examples:
  conflict-framing explain "The valley is calm after the clashes."
  conflict-framing explain "The valley is calm." --model runs/default --label escalation_report --json
""",
    )
    parser.add_argument("text", nargs="+", metavar="TEXT", help="a sentence, in quotes")
    _add_model(parser)
    parser.add_argument("--label", metavar="NAME", help="explain this label (default: the predicted one)")
    parser.add_argument(
        "--steps",
        type=_at_least(1),
        default=STEPS,
        metavar="N",
        help=f"points of the integral to begin with (default: {STEPS})",
    )
    parser.add_argument("--html", metavar="FILE", help="write a page there")
    parser.add_argument("--json", action="store_true", help="print JSON, one line a text")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at --html")


def _explain(options: Any) -> int:
    from conflict_framing.analysis import print_explanation, read_texts, to_html

    page = Path(options.html) if options.html else None
    if page is not None and page.exists() and not options.overwrite:
        raise UserError(f"{page} exists. Name another --html, or replace it with --overwrite.")
    if not all(text.strip() for text in options.text):
        raise UserError("TEXT: expected a sentence, came nothing but blanks.")
    classifier = _classifier(options)
    explanations = []
    for text in options.text:
        explanation = classifier.explain(text, options.label, options.steps)
        explanations.append(explanation)
        if options.json:
            out.print(json.dumps(explanation.to_json(), ensure_ascii=False), markup=False, soft_wrap=True)
        else:
            print_explanation(explanation, classifier.codebook, out)
            out.print()
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(to_html(read_texts(options.text, explanations, classifier)), "utf-8")
        say(f"page  {page}")
    return EXIT_OK


# --- serve ---------------------------------------------------------------------------------------


def _add_serve(commands: Any) -> None:
    parser = _command(
        commands,
        "serve",
        _serve,
        "open a web page to read, correct and count with",
        """\
Answers at http://127.0.0.1:8000 until Ctrl-C. Paste an article or choose a file (text, HTML, JSONL, CSV,
TSV, Parquet, each also gzipped; a table's rows are sentences, or articles to be split): sentences are
coloured by framing, with their probabilities, who says them and, on demand, the words that moved the
model. Filter, correct labels, download. For a table: shares with 95 % intervals and claims against
reports as 'conflict-framing shares' gives them, and the random sample that makes them sure, to draw, to
label and to bring back.

Corrected labels are appended to --annotations in corpus format, for 'train --corpus'. All else lies in a
temporary folder that is deleted at the end. The page takes nothing from the network. Everything that it
does can be asked of its JSON API too, which is documented at /api.

Only this machine is answered. --host 0.0.0.0 answers others too: there is no login, and what is sent is
not encrypted, so do it only in a network that you trust. Under a name of its own (http://machine:8000)
the page answers only if --allow-host gives that name; addresses and localhost always may be used.

examples:
  conflict-framing serve
  conflict-framing serve --model runs/default --port 9000 --annotations labels/mine.jsonl
  ssh -L 8000:127.0.0.1:8000 server         (then open http://127.0.0.1:8000 here, for a page served there)
""",
    )
    _add_model(parser)
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help="default: 8000; 0 takes any free one")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="also answer under this name; can be repeated"
    )
    parser.add_argument(
        "--annotations",
        default="annotations.jsonl",
        metavar="FILE",
        help="JSONL that corrected labels are appended to (default: annotations.jsonl in this folder)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, came {text!r}")
    return int(text)


def _serve(options: Any) -> int:
    from conflict_framing.web.serving import is_local, open_socket, require_framework, serve

    annotations = Path(options.annotations).absolute()
    if annotations.suffix != ".jsonl" or annotations.is_dir():
        raise UserError(f"--annotations {options.annotations}: name a file, FILE.jsonl.")
    require_framework()
    with open_socket(options.host, options.port) as listening:
        classifier = _classifier(options)
        if not is_local(options.host):
            say(
                f"warning: listening on {options.host}, so whoever reaches this machine can use the page. There is no "
                f"login, and what is sent is not encrypted."
            )
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{listening.getsockname()[1]}"
        try:
            serve(
                classifier,
                listening,
                annotations=annotations,
                names=(options.host, *options.allow_host),
                on_ready=lambda: say(f"Open {address} in a browser. Ctrl-C ends it. Labels go to {annotations}"),
            )
        except KeyboardInterrupt:  # the way to end it
            say("Ended; everything but the annotations is deleted.")
    return EXIT_OK


# --- export --------------------------------------------------------------------------------------


def _add_export(commands: Any) -> None:
    parser = _command(
        commands,
        "export",
        _export,
        "add a graph to a model folder, which predicts without PyTorch",
        """\
'train' does this at its end. For older models, or a checkpoint from elsewhere in a folder, this
writes model.onnx (in full or in 8-bit precision, whichever is faster and gives at least 99.5 % of
the labels that PyTorch gives, with probabilities that differ by at most 0.01 on average),
runtime.json (what was measured) and, for a run, the graph's own temperature and calibration.

--cascade puts a first stage before the graph, which is made first where there is none: a small network
that costs next to nothing answers the sentences that it is sure of. It is taught by the graph on the
run's training sentences and on --unlabelled text, best of the kind that will be labelled. Its answers
are bounded so that at most the stated share of sentences (default: 0.01) gets another label than the
graph alone gives, with 95 % confidence, in text like the documents that are held out for it (half of
the unlabelled ones: give some hundred, in a column 'document'). An earlier first stage is replaced.
All that predict then use it (--no-cascade does not).

--output leaves the run as it is and writes a folder to pass on: the weights rounded to half precision
(they are loaded in single precision), a graph, calibrated and measured anew by the bars above, with
--cascade a first stage before it, and a NOTICE of all that it was made from (--attribution says whose
the unlabelled text is). That is how the ready model was made.

examples:
  conflict-framing export --model runs/default
  conflict-framing export --model runs/distilled --output model/ready
  conflict-framing export --model downloaded/checkpoint --data my_sentences.csv
  conflict-framing export --model runs/default --cascade --unlabelled archive/*.parquet
""",
    )
    parser.add_argument("--model", required=True, metavar="RUN", help="a run of 'train', or a folder with a checkpoint")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="FILE",
        help="sentences to measure on: text files or tables (default: the parts of the run, else the bundled corpus)",
    )
    parser.add_argument(
        "--cascade",
        nargs="?",
        type=_share,
        const=0.01,
        metavar="SHARE",
        help="add a first stage that changes at most this share of the labels (default: 0.01)",
    )
    parser.add_argument(
        "--unlabelled",
        nargs="+",
        default=[],
        metavar="FILE",
        help="for --cascade: text files, or tables with a column 'document'",
    )
    parser.add_argument(
        "--parts", metavar="RUN", help="for --cascade: the run whose parts to use, where --model was packed from it"
    )
    parser.add_argument(
        "--attribution",
        metavar="TEXT",
        help="sources of --unlabelled and their licences, for the README and NOTICE of a folder to pass on",
    )
    parser.add_argument("--output", metavar="FOLDER", help="write a model folder to pass on there (needs a run)")
    parser.add_argument(
        "--max-mb", type=float, default=75.0, metavar="N", help="refuse a larger folder at --output (default: 75)"
    )
    _add_columns(parser, label=False)
    _add_encoding(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a graph, or an --output, that is there")


def _export(options: Any) -> int:
    from conflict_framing.model.folder import find_model
    from conflict_framing.model.onnx_runtime import has_graph
    from conflict_framing.model.rows import ReadOptions, read_texts
    from conflict_framing.train.export import describe, export_folder

    if (options.unlabelled or options.parts or options.attribution) and options.cascade is None:
        raise UserError("--unlabelled, --attribution and --parts go with --cascade.")
    if options.output:
        return _pack(options)
    reading = ReadOptions(options.text_column, options.encoding)
    if options.cascade is not None and has_graph(find_model(options.model)) and not options.overwrite:
        if options.data:
            raise UserError("--data is for measuring a graph, and the one that is there stays: leave it out.")
        return _export_cascade(options)
    texts = list(read_texts(options.data, reading))
    facts = export_folder(options.model, texts=texts, overwrite=options.overwrite, say=say)
    for candidate in facts.candidates:
        out.print(f"{'*' if candidate.name == facts.precision else ' '} {describe(candidate)}", soft_wrap=True)
    out.print(f"  PyTorch: {facts.torch_sentences_per_second:.0f} sentences/s")
    return EXIT_OK if options.cascade is None else _export_cascade(options)


def _cascade_from(options: Any) -> "tuple[Unlabelled, CascadeSettings]":
    """The text to make a first stage with, and what it has to keep."""
    from conflict_framing.model.rows import ReadOptions, read_documents
    from conflict_framing.train.cascade import Unlabelled
    from conflict_framing.train.recipe import load_recipe

    rows = list(read_documents(options.unlabelled, ReadOptions(options.text_column, options.encoding)))
    texts, documents = [text for text, _ in rows], [document for _, document in rows]
    settings = load_recipe("default", [f"cascade.most_changed={options.cascade}"]).cascade
    return Unlabelled(texts, documents, attribution=options.attribution), settings


def _export_cascade(options: Any) -> int:
    from conflict_framing.model.folder import find_model
    from conflict_framing.model.layout import ModelLayout
    from conflict_framing.train.cascade import cascade_folder, describe_cascade
    from conflict_framing.train.pack import add_first_stage

    unlabelled, settings = _cascade_from(options)
    is_packed = ModelLayout(find_model(options.model)).notice.exists()
    if is_packed and not options.parts:
        raise UserError(f"--model {options.model} was packed from a run. Name that run: --parts RUN")
    add = add_first_stage if is_packed else cascade_folder
    facts = add(options.model, unlabelled, settings, run=options.parts, say=say)
    for line in describe_cascade(facts):
        out.print(line, soft_wrap=True, markup=False)
    return EXIT_OK


def _pack(options: Any) -> int:
    from conflict_framing.train.cascade import describe_cascade
    from conflict_framing.train.export import describe
    from conflict_framing.train.pack import pack_model

    if options.data:
        raise UserError("--data does not go with --output, which measures on the parts of the run.")
    if options.parts:
        raise UserError("--parts does not go with --output, which takes the parts of the run.")
    unlabelled, cascade = (None, None) if options.cascade is None else _cascade_from(options)
    packed = pack_model(
        options.model,
        options.output,
        most_mb=options.max_mb,
        cascade=cascade,
        unlabelled=unlabelled,
        overwrite=options.overwrite,
        say=say,
    )
    out.print(f"weights  {packed.agreement}", soft_wrap=True)
    for line in describe_cascade(packed.cascade) if packed.cascade else []:
        out.print(line, soft_wrap=True, markup=False)
    for candidate in packed.graph.candidates:
        out.print(f"{'*' if candidate.name == packed.graph.precision else ' '} {describe(candidate)}", soft_wrap=True)
    size = f"{packed.bytes / 1e6:.1f} MB"
    out.print(f"model    {packed.layout.folder} ({size})", soft_wrap=True, markup=False)
    return EXIT_OK


# --- shares --------------------------------------------------------------------------------------


def _add_shares(commands: Any) -> None:
    parser = _command(
        commands,
        "shares",
        _shares,
        "turn predictions into shares with 95 % intervals, pictures and a report",
        """\
PREDICTIONS are files that 'predict' wrote. --by names columns to group by; year, quarter, month and
week are derived from dates. Counting predicted labels gives the model's errors as findings, so the
shares are corrected in one of two ways:

  --model RUN      from the model alone (adjusted count, with EM beside it): right where the model errs as
                   it does on text like its training text. Marked as model-based.
  --audit AUDITED  with a random sample that people labelled (prediction-powered inference): right whatever
                   the model's errors. Groups with under 30 audited documents have too few.

Intervals take sentences of one document (column document) as belonging together. --output writes
report.html, shares.csv, claims.csv and the pictures (PNG and SVG): shares over time, groups side by
side, and stabilisation claims by officials against escalation reports by everybody else (columns
source_type, date and, if there is one, place).

An audit: --plan-audit says how many sentences to label for a wanted half-width of the intervals, and
draws them, blind and in random order. Fill the column label from the top, keep FILE.meta.json beside
the file, and give it to --audit. With --by-document whole documents are drawn: sentences of one article
are alike, so more of them are needed (the design effect tells how many times), but they are read in
their context. A queue of unsure sentences is no audit.

examples:
  conflict-framing shares labelled.jsonl --by outlet,month --output findings   (what the ready model labelled)
  conflict-framing shares labelled.jsonl --by outlet,month --model runs/default --output findings
  conflict-framing shares labelled.jsonl --by outlet --plan-audit audit.csv --half-width 0.05
  conflict-framing shares labelled.jsonl --by outlet --plan-audit audit.csv --half-width 0.05 --by-document
  conflict-framing shares labelled.jsonl --by outlet --audit audit.csv --output findings
  conflict-framing shares labelled.jsonl --by outlet,year --model runs/default --compare wire,2023 wire,2024
""",
    )
    parser.add_argument("predictions", nargs="+", metavar="PREDICTIONS", help="what 'predict' wrote, of one model")
    parser.add_argument(
        "--by", type=_names, default=[], metavar="COLUMN,…", help="columns to group by (default: all in one group)"
    )
    parser.add_argument(
        "--model", metavar="RUN", help="the model that made the predictions (default: the ready model, if it did)"
    )
    parser.add_argument("--audit", metavar="FILE", help="the labelled file of --plan-audit")
    parser.add_argument("--output", metavar="FOLDER", help="write the report, the tables and the pictures there")
    parser.add_argument(
        "--compare",
        nargs=2,
        action="append",
        default=[],
        type=_names,
        metavar=("GROUP", "GROUP"),
        help="also the difference of two groups, each given as its values in the order of --by; can be repeated",
    )
    parser.add_argument("--plan-audit", metavar="FILE", help="draw a sample to label: .csv, .tsv, .jsonl or .parquet")
    parser.add_argument(
        "--half-width", type=_half_width, metavar="SHARE", help="wanted of every group's intervals, e.g. 0.05"
    )
    parser.add_argument(
        "--stratify",
        choices=("label",),
        help="also draw in strata of the predicted label: shorter intervals for rare labels",
    )
    parser.add_argument(
        "--by-document",
        action="store_true",
        help="draw documents with all their sentences: more sentences to label, fewer articles to read",
    )
    parser.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="of the draw (default: 0)")
    parser.add_argument("--date-column", default="date", metavar="NAME", help="ISO dates (default: date)")
    parser.add_argument(
        "--text-column", metavar="NAME", help="the column with the sentences (default: as predict was told)"
    )
    _add_encoding(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at --output or --plan-audit")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")] if text.strip() else []


def _half_width(text: str) -> float:
    width = _share(text)
    if width >= 0.5:
        raise argparse.ArgumentTypeError(f"expected a share below 0.5, e.g. 0.05 for ±5 points, came {text!r}")
    return width


def _shares(options: Any) -> int:
    from conflict_framing.analysis.findings import findings_of, write_findings

    _check_shares(options)
    reading = {name: getattr(options, name) for name in ("date_column", "text_column", "encoding")}
    if options.plan_audit:
        return _plan_audit(options, reading)
    with _bar("Reading", "rows") as on_progress:
        findings = findings_of(
            options.predictions,
            options.by,
            model=options.model,
            audit=options.audit,
            compare=options.compare,
            on_progress=on_progress,
            **reading,
        )
    print_findings(findings)
    if options.output:
        say("Drawing …")
        out.print(f"report  {write_findings(findings, Path(options.output))}", soft_wrap=True, markup=False)
    return EXIT_OK


def _plan_audit(options: Any, reading: dict[str, Any]) -> int:
    from conflict_framing.analysis.audit import plan_audit, write_audit
    from conflict_framing.analysis.table import read_predictions
    from conflict_framing.data.tables import check_table_name

    path = Path(options.plan_audit)
    check_table_name(path)
    with _bar("Reading", "rows") as on_progress:
        table = read_predictions(options.predictions, options.by, on_progress=on_progress, **reading)
    plan = plan_audit(
        table,
        options.by,
        options.half_width,
        by_label=options.stratify == "label",
        by_document=options.by_document,
        seed=options.seed,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audit(plan, table, path, text_column=options.text_column, encoding=options.encoding)
    print_plan(plan, path)
    return EXIT_OK


def _check_shares(options: Any) -> None:
    if options.plan_audit and options.half_width is None:
        raise UserError("--plan-audit needs --half-width: how short the intervals shall be, e.g. 0.05 for ±5 points.")
    if not options.plan_audit and (options.half_width is not None or options.stratify or options.by_document):
        raise UserError("--half-width, --stratify and --by-document go with --plan-audit FILE, which draws the sample.")
    if options.plan_audit and (options.audit or options.compare or options.output):
        raise UserError(
            "--plan-audit draws a sample and ends; give --audit, --compare and --output when it is labelled."
        )
    if options.model and options.plan_audit:
        say("note: --model is not used: a sample is drawn from the predictions alone.")
    if options.compare and not options.by:
        raise UserError("--compare takes groups of --by. Name its columns.")
    for name, path in (("--output", options.output), ("--plan-audit", options.plan_audit)):
        if path and Path(path).exists() and not options.overwrite:
            held = " and may hold labels that somebody gave" if name == "--plan-audit" else ""
            raise UserError(f"{path} exists{held}. Name another {name}, or replace it with --overwrite.")
    if options.output and Path(options.output).is_file():
        raise UserError(f"--output {options.output}: expected a folder, came a file.")


def print_plan(plan: "AuditPlan", path: Path) -> None:
    """What an audit takes for each group, and what to do next."""
    table = Table(title="Sentences to label", title_justify="left", box=None, pad_edge=False)
    for name in (
        ", ".join(plan.by) or "group",
        "sentences",
        "of",
        "documents",
        "of",
        "expected ±",
        "set by",
        "design effect",
    ):
        table.add_column(escape(name), justify="right" if table.columns else "left", overflow="fold")
    for group in plan.groups[:_SHOWN]:
        counts = (group.sentences, group.of_sentences, group.documents, group.of_documents)
        width = "–" if group.half_width is None else f"{100 * group.half_width:.1f} points"
        effect = "–" if group.design_effect is None else f"{group.design_effect:.1f}"
        table.add_row(escape(group.name), *(f"{count:,}" for count in counts), width, group.limit or "–", effect)
    out.print(table)
    for rule in plan.rules:
        out.print(rule, style="dim", markup=False, soft_wrap=True)
    if len(plan.groups) > _SHOWN:
        say(f"… and {len(plan.groups) - _SHOWN} more groups.")
    for note in dict.fromkeys(group.note for group in plan.groups if group.note):
        names = [group.name for group in plan.groups if group.note == note]
        say(f"note: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}: {note}")
    rest = plan.sentences - sum(group.sentences for group in plan.groups)
    others = f", {rest:,} of them from the groups with too few documents" if rest else ""
    what = "sentences of whole documents" if plan.by_document else "sentences"
    out.print(f"{plan.sentences:,} {what} in random order to {path}{others}", soft_wrap=True, markup=False)
    out.print(
        f"Fill its column label from the top, keep {path.name}.meta.json beside it, and give it to --audit. "
        f"A half-way filled file works too.",
        soft_wrap=True,
        markup=False,
    )


def print_findings(findings: "Findings") -> None:
    """The shares with their method, then differences."""
    say(findings.method)
    for note in findings.notes:
        say(f"note: {note}")
    if findings.overview is not None:
        _print_shares(findings.overview)
    _print_shares(findings.shares)
    for one in findings.differences:
        out.print(f"{one.name}, in points", style="italic", markup=False, soft_wrap=True)
        table = Table(box=None, pad_edge=False)
        for name in ("label", "difference", "95 % interval"):
            table.add_column(name, justify="right" if table.columns else "left", no_wrap=True)
        for label, value, (low, high) in zip(findings.shares.labels, one.values, one.intervals, strict=True):
            table.add_row(escape(label), f"{100 * value:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}")
        out.print(table)


def _print_shares(shares: "Shares") -> None:
    from conflict_framing.analysis.findings import told

    table = Table(title=f"Shares, {shares.method}", title_justify="left", box=None, pad_edge=False)
    for name in (", ".join(shares.by) or "group", "sentences", "documents", *shares.labels):
        table.add_column(escape(name), justify="right" if table.columns else "left", no_wrap=True)
    for group in shares.groups[:_SHOWN]:
        figures = [told(group, place) for place in range(len(shares.labels))]
        table.add_row(escape(group.name), f"{group.sentences:,}", f"{group.documents:,}", *figures)
    _wide(shares.labels).print(table)
    for rule in shares.rules:
        out.print(rule, style="dim", markup=False, soft_wrap=True)
    out.print()
    if len(shares.groups) > _SHOWN:
        say(f"… and {len(shares.groups) - _SHOWN} more groups: write them with --output.")


# --- corpus, recipe, demo ------------------------------------------------------------------------


def _add_corpus(commands: Any) -> None:
    parser = commands.add_parser(
        "corpus", help="check an annotated corpus, measure agreement", description="Look into an annotated corpus."
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    check = _command(
        actions,
        "check",
        _corpus_check,
        "refuse what would make results untrustworthy",
        """\
Finds, each with path:line: malformed rows, empty text, labels that the codebook does not have,
duplicates, near-duplicates across documents (contrast pairs that share a group are exempt), and
documents or groups torn apart by a split column. Warns of registers, theatres and kinds of actors
that go with one label: a model may learn them instead of the framing. Without FILE: the bundled
corpus. Exit status 0 when clean, 3 when problems were found (with --strict, warnings count too).

--label-errors lists the sentences whose label is likely wrong, the likeliest first, for a person to
read again: their labels contradict a classifier that was trained without their documents (cleanlab).

examples:
  conflict-framing corpus check my.csv --label-errors suspects.csv
  conflict-framing corpus check runs/mine/splits/*.jsonl      (leaks between the parts of a run)
""",
    )
    check.add_argument("file", nargs="*", metavar="FILE", help=f"annotated sentences: {_FORMATS}")
    check.add_argument("--codebook", metavar="FILE", help="YAML with the labels that may occur")
    check.add_argument(
        "--threshold",
        type=float,
        default=0.7,
        help="Jaccard similarity of word triples from which sentences are near-duplicates (default: 0.7)",
    )
    check.add_argument("--strict", action="store_true", help="let warnings count as problems")
    check.add_argument(
        "--label-errors", metavar="FILE", help="write the likely label errors there (.jsonl, .csv, .tsv or .parquet)"
    )
    check.add_argument(
        "--backbone", default="all-MiniLM-L6-v2", metavar="NAME|FOLDER", help="of the embeddings for --label-errors"
    )
    _add_columns(check, label=True)
    _add_encoding(check)
    _add_device(check)
    check.add_argument("--overwrite", action="store_true", help="replace what stands at --label-errors")

    agreement = _command(
        actions,
        "agreement",
        _corpus_agreement,
        "measure how far the annotators agree",
        """\
The corpus has the columns annotator_1, annotator_2, …, each with one annotator's labels. Prints the
share of equal labels, Cohen's kappa and Krippendorff's alpha: over all, for each label against the
rest, and for each value of a column. Without FILE: the bundled corpus.
""",
    )
    agreement.add_argument("file", nargs="*", metavar="FILE", help=f"annotated sentences: {_FORMATS}")
    agreement.add_argument("--by", default="register", metavar="COLUMN", help="break down by it (default: register)")
    _add_columns(agreement, label=True)
    _add_encoding(agreement)

    stats = _command(
        actions,
        "stats",
        _corpus_stats,
        "count sentences, documents and labels",
        """\
Overall and for each value of a column, then the lengths of the sentences by label. With --picture
the same as a picture. Without FILE: the bundled corpus.

The column "actor" need not be there: without it, sentences are counted by the kinds of actors that
they mention (government, army, police, armed group, …).

examples:
  conflict-framing corpus stats my.csv --by outlet
  conflict-framing corpus stats --by register theatre actor --picture balance.png
""",
    )
    stats.add_argument("file", nargs="*", metavar="FILE", help=f"annotated sentences: {_FORMATS}")
    stats.add_argument(
        "--by", nargs="+", metavar="COLUMN", help="break down by these (default: register, where there is one)"
    )
    stats.add_argument("--picture", metavar="FILE", help="draw label shares and lengths: .png, .svg or .pdf")
    stats.add_argument("--overwrite", action="store_true", help="replace what stands at --picture")
    _add_columns(stats, label=True)
    _add_encoding(stats)


def _corpus_stats(options: Any) -> int:
    from conflict_framing.data import load_corpus
    from conflict_framing.data.balance import QUANTILES, count_by, draw_balance, lengths

    picture = Path(options.picture) if options.picture else None
    if picture is not None and picture.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--picture {picture}: name it .png, .svg or .pdf.")
    if picture is not None and picture.exists() and not options.overwrite:
        raise UserError(f"{picture} exists. Name another --picture, or replace it with --overwrite.")
    corpus = load_corpus(
        *options.file, text_column=options.text_column, label_column=options.label_column, encoding=options.encoding
    )
    columns = options.by or (["register"] if any(s.extras.get("register") for s in corpus.sentences) else [])
    wide = _wide(corpus.label_names)
    for column in columns or [""]:
        parts = count_by(corpus, column) if column else {"all": corpus}
        table = Table(box=None, pad_edge=False)
        for name in (column, "documents", "sentences", *corpus.label_names):
            table.add_column(escape(name), justify="right" if table.columns else "left", no_wrap=True)
        for value, part in parts.items():
            documents = len({s.document for s in part.sentences if s.document})
            shares = (f"{count / len(part):.0%}" for count in part.counts().values())
            table.add_row(escape(value), f"{documents:,}", f"{len(part):,}", *shares)
        wide.print(table, "")
    table = Table(box=None, pad_edge=False)
    for name in ("words per sentence", "mean", *(f"{q:.0%}" for q in QUANTILES), "longest"):
        table.add_column(name, justify="right" if table.columns else "left", no_wrap=True)
    for value, part in count_by(corpus, "label").items():
        length = lengths(part)
        table.add_row(
            escape(value), f"{length.mean:.1f}", *(f"{q:.0f}" for q in length.quantiles), f"{length.longest:,}"
        )
    wide.print(table)
    if picture is not None:
        draw_balance(corpus, picture, columns)
        out.print(f"picture  {picture}", soft_wrap=True, markup=False)
    return EXIT_OK


def _corpus_agreement(options: Any) -> int:
    from conflict_framing.data import load_corpus
    from conflict_framing.data.agreement import corpus_agreement

    corpus = load_corpus(
        *options.file, text_column=options.text_column, label_column=options.label_column, encoding=options.encoding
    )
    table = Table(box=None, pad_edge=False)
    for name in ("sentences with", "n", "equal", "kappa", "alpha"):
        table.add_column(name, justify="left" if name == "sentences with" else "right", no_wrap=True)
    for found in corpus_agreement(corpus, by=options.by):
        figures = (f"{value:.3f}" for value in (found.observed, found.kappa, found.alpha))
        table.add_row(escape(found.name), f"{found.n:,}", *figures)
    out.print(table)
    return EXIT_OK


def _corpus_check(options: Any) -> int:
    from conflict_framing.data import Codebook
    from conflict_framing.data.balance import one_sided
    from conflict_framing.data.check import check_files
    from conflict_framing.data.corpus import bundled_corpus_files
    from conflict_framing.data.tables import check_table_name

    if not 0 < options.threshold <= 1:
        raise UserError(f"--threshold {options.threshold}: expected a number above 0, at most 1.")
    suspects = Path(options.label_errors) if options.label_errors else None
    if suspects is not None:
        check_table_name(suspects)
    if suspects is not None and suspects.exists() and not options.overwrite:
        raise UserError(f"{suspects} exists. Name another --label-errors, or replace it with --overwrite.")
    files = options.file or bundled_corpus_files()
    codebook = Codebook.load(options.codebook) if options.codebook else None if options.file else Codebook.bundled()
    corpus, problems = check_files(
        *files,
        codebook=codebook,
        threshold=options.threshold,
        text_column=options.text_column,
        label_column=options.label_column,
        encoding=options.encoding,
    )
    for problem in problems:
        out.print(f"{problem.message}  ({problem.kind})", markup=False, soft_wrap=True)
    warnings = one_sided(corpus) if corpus is not None else []
    for warning in warnings:
        out.print(f"warning: {warning}", markup=False, soft_wrap=True)
    if corpus is not None:
        documents = len({s.document for s in corpus.sentences if s.document})
        counts = ", ".join(f"{name} {count:,}" for name, count in corpus.counts().items())
        out.print(f"{len(corpus):,} sentences, {documents:,} documents: {counts}", soft_wrap=True)
    if corpus is not None and suspects is not None:
        _write_label_errors(corpus, suspects, options)
    if corpus is None:
        say("Duplicates, leaks and one-sided values are looked for once every row can be read.")
    say(f"{len(problems) or 'No'} problem(s), {len(warnings) or 'no'} warning(s).")
    return EXIT_INCOMPLETE if problems or (warnings and options.strict) else EXIT_OK


def _write_label_errors(corpus: "Corpus", path: Path, options: Any) -> None:
    from conflict_framing.data.tables import write_table
    from conflict_framing.model.backbone import resolve_backbone
    from conflict_framing.train.label_errors import likely_label_errors

    say(f"Looking for likely label errors among {len(corpus):,} sentences …")
    found = likely_label_errors(corpus, resolve_backbone(options.backbone), device=options.device)
    write_table(
        path,
        [
            {
                "place": error.sentence.place,
                "text": error.sentence.text,
                "label": error.sentence.label,
                "suggested": error.suggested,
                "p_label": round(error.p_label, 4),
                "p_suggested": round(error.p_suggested, 4),
            }
            for error in found
        ],
    )
    out.print(f"{len(found):,} likely label errors, likeliest first, in {path}", soft_wrap=True, markup=False)


def _add_recipe(commands: Any) -> None:
    parser = _command(
        commands,
        "recipe",
        _recipe,
        "check a recipe and print it with every setting",
        """\
Without NAME: the recipes that come with the package.

example:
  conflict-framing recipe my.yaml --set training.epochs=4
""",
    )
    parser.add_argument("name", nargs="?", metavar="NAME|FILE")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=v", help="change one setting; can be repeated"
    )


def _recipe(options: Any) -> int:
    from conflict_framing.train.recipe import load_recipe, recipe_names

    if options.name is None and not options.set:
        for name in recipe_names():
            out.print(f"{name:10} backbone {load_recipe(name).backbone}")
        return EXIT_OK
    out.print(load_recipe(options.name or "default", options.set).to_yaml(), markup=False, end="", soft_wrap=True)
    return EXIT_OK


def _add_demo(commands: Any) -> None:
    parser = _command(
        commands,
        "demo",
        _demo,
        "train on the bundled corpus, evaluate and read a sample article",
        "What 'make demo' runs. A second call reuses the trained model.\n",
    )
    parser.add_argument("--output", default="runs/demo", metavar="RUN", help="folder for the run (default: runs/demo)")
    parser.add_argument("--recipe", default="default", metavar="NAME|FILE", help="recipe to train (default: default)")


def _demo(options: Any) -> int:
    from conflict_framing.demo import run_demo

    return run_demo(Path(options.output), options.recipe, out, say)


if __name__ == "__main__":
    main()
