"""Sentences a second: this package's graph against transformers.pipeline and others, and what speed costs in F1.

    python benchmarks/throughput.py --model runs/demo --sentences 512 --repeats 5
    python benchmarks/throughput.py --model model/ready --parts runs/distilled

F1 is measured on the run's test part and on our labelled sample of real text (see real_text.py). A model with a first
stage (see draw_documents.py) is measured with it and without.
All label the same distinct sentences, in turns of one run, with duplicate folding off. Seconds are those of the
clock, or with --cpu-time those that the processes computed, which another job on the machine changes less; the
latter say nothing of how well work is spread over cores. The share of the limit is that of the multiplications of
the unpadded sentences by the whole model, done at the speed of a large fp32 matrix product here. 8 bits can go beyond
it, and a first stage that leaves them out.
"""

import argparse
import gzip
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import AutoTokenizer, pipeline

from common import SHARED, print_table, real_sample, require
from conflict_framing import FramingClassifier, load_corpus
from conflict_framing.data import Corpus
from conflict_framing.data.split import split_units
from conflict_framing.model.cascade import has_cascade
from conflict_framing.model.folder import find_model
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.model.onnx_runtime import OnnxRuntime, read_graph_facts
from conflict_framing.model.runtime import count_threads
from conflict_framing.model.torch_runtime import quiet_transformers
from conflict_framing.train.export import make_candidates
from conflict_framing.train.uncertainty import paired_differences

_BASE = "transformers.pipeline, batch 32"
_FULL = "ours, PyTorch, sorted by length"
_CASCADE = "ours, first stage before the chosen graph"

# Labels by place, one per sentence.
Labelled = Callable[[Sequence[str]], list[int]]


def draw(path: Path, n: int, seed: int) -> list[str]:
    """Distinct sentences, the same for the same seed."""
    with gzip.open(require(path, "The unlabelled real sentences"), "rt", encoding="utf-8") as stream:
        texts = sorted({json.loads(line)["text"] for line in stream})
    return random.Random(seed).sample(texts, n)


def matrix_limit(seconds: float = 1.0) -> float:
    """FLOP a second of an fp32 matrix product of the size of a feed-forward layer on a thousand tokens."""
    chance = np.random.default_rng(0)
    a, b = (chance.normal(size=shape).astype(np.float32) for shape in ((1024, 384), (384, 1536)))
    best = 0.0
    ended = CLOCK() + seconds
    while CLOCK() < ended:
        started = CLOCK()
        for _ in range(5):
            a @ b
        best = max(best, 5 * 2 * 1024 * 384 * 1536 / (CLOCK() - started))
    return best


def work_of(config: Any, lengths: Sequence[int]) -> float:
    """Mean FLOP of the matrix products for a sentence without padding: all layers at all tokens."""
    d, up, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    return float(np.mean([layers * n * (8 * d * d + 4 * d * up + 4 * n * d) for n in lengths]))


def our_classifiers(source: Path, folder: Path) -> dict[str, FramingClassifier]:
    """All graphs that the model could be shipped with, the chosen one marked, and PyTorch."""
    full = FramingClassifier.from_pretrained(source, device="cpu", runtime="torch")
    facts = read_graph_facts(source)
    found = {_FULL: full}
    for name, graph in make_candidates(full, folder).items():
        one = FramingClassifier.from_pretrained(source, runtime="onnx", cascade=False)
        one.runtime = OnnxRuntime(
            graph, ModelLayout(source).tokenizer, max_length=facts.max_length, hidden_size=facts.hidden_size,
            alone=name == "int8",
        )  # fmt: skip
        found[f"ours, {name} graph{' (chosen)' if name == facts.precision else ''}"] = one
    if has_cascade(source):
        found[_CASCADE] = FramingClassifier.from_pretrained(source, cascade=True)
    for classifier in found.values():
        classifier.fold_duplicates = False
    return found


def labelling(classifier: FramingClassifier) -> Labelled:
    return lambda texts: classifier.predict_proba(texts).argmax(axis=1).tolist()


def with_pipeline(source: Path, max_length: int, **settings: Any) -> Labelled:
    with quiet_transformers():
        pipe = pipeline("text-classification", model=str(source), device="cpu")
    places = pipe.model.config.label2id

    def label(texts: Sequence[str]) -> list[int]:
        with quiet_transformers():
            found = pipe(list(texts), truncation=True, max_length=max_length, **settings)
        return [places[row["label"]] for row in found]

    return label


def with_plain_onnx(model: Any, source: Path, max_length: int, path: Path) -> Labelled:
    """ONNX Runtime as its tutorials have it: exported as it stands, padded batches of 32 in the order of the input."""

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    tokenizer = AutoTokenizer.from_pretrained(source)
    sample = tokenizer(["The town is calm.", "Two."], padding=True, return_tensors="pt")
    dims = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("length", min=2, max=512)}
    program = torch.onnx.export(
        Plain(), (sample["input_ids"], sample["attention_mask"]), dynamo=True, dynamic_shapes=(dims, dims),
        input_names=["input_ids", "attention_mask"], output_names=["logits"], verbose=False,
    )  # fmt: skip
    program.save(str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)

    def label(texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for first in range(0, len(texts), 32):
            encoded = tokenizer(
                list(texts[first : first + 32]), truncation=True, max_length=max_length, padding=True,
                return_tensors="np",
            )  # fmt: skip
            (logits,) = session.run(None, {name: encoded[name] for name in ("input_ids", "attention_mask")})
            found += logits.argmax(axis=1).tolist()
        return found

    return label


def with_setfit(source: Path, max_length: int, n_labels: int) -> Labelled:
    """SetFit's ``predict`` with the same backbone and a head of random weights: its labels mean nothing."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from setfit import SetFitModel
    from sklearn.linear_model import LogisticRegression

    with quiet_transformers():
        words = Transformer(str(source), max_seq_length=max_length)
        body = SentenceTransformer(
            modules=[words, Pooling(words.get_embedding_dimension(), pooling_mode="mean"), Normalize()], device="cpu"
        )
    head = LogisticRegression()
    rows = np.random.default_rng(0).normal(size=(8 * n_labels, words.get_embedding_dimension()))
    head.fit(rows, [place % n_labels for place in range(8 * n_labels)])
    model = SetFitModel(model_body=body, model_head=head)
    return lambda texts: [int(p) for p in model.predict(list(texts), as_numpy=True, show_progress_bar=False)]


def run_in_turns(contenders: dict[str, Labelled], texts: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """Seconds of each for the texts; in every turn all of them, in another order."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(1 + repeats):
        names = random.Random(turn).sample(list(contenders), len(contenders))
        for name in names:
            part = texts if turn else texts[:32]  # the first warms up
            started = CLOCK()
            contenders[name](part)
            if turn:
                seconds[name].append(CLOCK() - started)
        print(f"turn {turn} of {repeats}", flush=True)
    return seconds


CLOCK: Callable[[], float] = time.perf_counter


def main() -> None:
    global CLOCK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/demo", help="a run with a graph")
    parser.add_argument(
        "--parts", default=None, metavar="RUN", help="whose test part, where --model was packed from it"
    )
    parser.add_argument("--data", type=Path, default=SHARED / "real" / "sentences.jsonl.gz")
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds in place of the clock's")
    parser.add_argument("--only-speed", action="store_true", help="leave out macro-F1")
    parser.add_argument("--test-sentences", type=int, default=None, help="of the test part at most; default: all")
    options = parser.parse_args()
    if options.cpu_time:
        CLOCK = time.process_time
    torch.set_num_threads(count_threads())
    source = find_model(options.model)
    texts = draw(options.data, options.sentences, options.seed)

    with tempfile.TemporaryDirectory() as place:
        ours = our_classifiers(source, Path(place))
        full = ours[_FULL]
        limit = full.facts.max_length
        contenders = {name: labelling(classifier) for name, classifier in ours.items()} | {
            "transformers.pipeline, default": with_pipeline(source, limit),
            _BASE: with_pipeline(source, limit, batch_size=32),
            "ONNX Runtime plain, batch 32": with_plain_onnx(full.model, source, limit, Path(place) / "plain.onnx"),
        }
        if find_spec("setfit"):
            contenders["SetFit predict"] = with_setfit(source, limit, len(full.classes_))
        lengths = [len(ids) for ids in full.tokenizer(texts, truncation=True, max_length=limit)["input_ids"]]
        work, speed = work_of(full.model.config, lengths), matrix_limit()
        seconds = run_in_turns(contenders, texts, options.repeats)

    print(
        f"\n{len(texts)} distinct sentences of {np.mean(lengths):.1f} tokens, seed {options.seed}, "
        f"{options.repeats} turns, {count_threads()} thread(s), "
        f"{'processor' if options.cpu_time else 'clock'} seconds. "
        f"fp32 matrix product: {speed / 1e9:.0f} GFLOP/s; {work / 1e6:.0f} MFLOP a sentence: at most "
        f"{speed / work:.0f} sentences/s in fp32. onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, "
        f"onnx {onnx.__version__}, {os.cpu_count()} cores\n"
    )
    rows = []
    for name in contenders:
        rates = len(texts) / np.array(seconds[name])
        ratios = np.array(seconds[_BASE]) / np.array(seconds[name])
        rows.append(
            [
                name, f"{np.median(rates):.0f}", f"{rates.min():.0f}–{rates.max():.0f}", f"{np.median(ratios):.2f}",
                f"{np.median(rates) * work / speed:.0%}",
            ]
        )  # fmt: skip
    print_table(["", "sentences/s", "range", f"× {_BASE}", "of the fp32 limit"], rows)
    if _CASCADE in ours:
        print(f"\nOf these sentences {_by_first_stage(ours, texts)}.")
    if not options.only_speed:
        run = RunLayout(find_model(options.parts).parent if options.parts else source.parent)
        test = load_corpus(require(run.split("test"), "The run's test part"), codebook=full.codebook)
        print_scores(ours, "test", test.select(list(range(len(test)))[: options.test_sentences]))
        with tempfile.TemporaryDirectory() as place:
            sample = load_corpus(real_sample(Path(place)), codebook=full.codebook)
        print_scores(ours, "sampled real", sample)


def print_scores(ours: dict[str, FramingClassifier], kind: str, test: Corpus) -> None:
    """Macro-F1 on labelled sentences, and its difference to the full model's."""
    full = ours[_FULL]
    units, n_labels = split_units(test), len(full.classes_)
    predictions = {name: classifier.predict_proba(test.texts).argmax(axis=1) for name, classifier in ours.items()}
    rows = []
    for name, found in predictions.items():
        scores = paired_differences(
            [(found.tolist(), predictions[_FULL].tolist())], test.label_ids, units, n_labels
        )["macro_f1"]  # fmt: skip
        alone = full_macro_f1(found, test.label_ids, n_labels)
        equal = float((found == predictions[_FULL]).mean())
        rows.append(
            [name, f"{alone:.4f}", f"{scores.value:+.4f}", f"{scores.low:+.4f} to {scores.high:+.4f}", f"{equal:.2%}"]
        )
    print(f"\n{len(test):,} {kind} sentences in {len(set(units)):,} documents\n")
    print_table(["", "macro-F1", "difference", "95 % interval", "equal labels"], rows)
    if _CASCADE in ours:
        print(f"\nOf the {kind} sentences {_by_first_stage(ours, test.texts)}.")


def _by_first_stage(ours: dict[str, FramingClassifier], texts: Sequence[str]) -> str:
    chosen = next(classifier for name, classifier in ours.items() if name.endswith("(chosen)"))
    answered = np.array([prediction.by_first_stage for prediction in ours[_CASCADE].predict(list(texts))])
    labels = [classifier.predict_proba(texts).argmax(axis=1) for classifier in (ours[_CASCADE], chosen)]
    changed = float((labels[0] != labels[1]).mean())
    return f"the first stage answers {answered.mean():.1%}, and {changed:.2%} get another label than the graph gives"


def full_macro_f1(predictions: Any, references: Sequence[int], n_labels: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(list(references), list(predictions), average="macro", zero_division=0))


if __name__ == "__main__":
    main()
