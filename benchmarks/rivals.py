"""The package and what it is measured against, all called in one way and on the same backbone weights.

Each is fitted on the training part of a split, sees nothing of the test part but its texts, and gives one
label per test sentence. The validation part is for the package alone, which stops early by it (or, with few
labels, learns from it); the others have nothing that they would choose with it, and where a split has none,
the package draws it from its training sentences. Nothing here is printed; the benchmarks import it.
"""

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from conflict_framing.data import Corpus
from conflict_framing.data.split import Split
from conflict_framing.model.backbone import resolve_backbone
from conflict_framing.model.torch_runtime import quiet_transformers
from conflict_framing.train import Recipe, train_run
from conflict_framing.train.baselines import Embedder, EmbeddingRegression, TfidfRegression
from conflict_framing.train.precision import uses_bf16

INSTALL_SETFIT = "pip install --constraint constraints.txt --requirement benchmarks/requirements.txt"
_FEW = 8  # sentences a label up to which SetFit's default sampling of pairs is taken
_ITERATIONS = 20  # pairs of each kind per sentence above that, as in Tunstall et al. (2022)


@dataclass(frozen=True)
class Outcome:
    """What a classifier made of the test part.

    Attributes:
        predictions: places of the labels, one per test sentence.
        seconds: from loading the backbone to the end of training.
        note: what a reader of its figures has to know, e.g. a cap on its training.
    """

    predictions: list[int]
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Classifier:
    """One way to get a classifier.

    Attributes:
        title: as tables and pictures show it.
        fit: trains on a split with the backbone, length and seed of a recipe.
        settings: all that its outcome follows from besides the split and the seed.
        seeded: whether another seed gives another outcome on the same split.
    """

    title: str
    fit: Callable[[Split, Recipe], Outcome]
    settings: dict[str, Any]
    seeded: bool = True


def all_classifiers(recipe: Recipe, *, epochs: float = 3.0, max_steps: int = 1000) -> dict[str, Classifier]:
    """The package under the name ``ours``, then its rivals.

    Args:
        recipe: what the package is trained with; backbone and length hold for all.
        epochs: of the plain Trainer.
        max_steps: of SetFit, which would take an hour for five thousand sentences.
    """
    shared = {"backbone": recipe.backbone, "max_length": recipe.max_length}
    own = recipe.model_dump(mode="json", exclude={"seed", "baselines", "distillation", "cascade"})
    return {
        "ours": Classifier(f"conflict-framing, {recipe.name}", fit_ours, own),
        "setfit": Classifier(
            "SetFit",
            lambda split, of: fit_setfit(split, of, max_steps),
            {**shared, "max_steps": max_steps, "precision": "fp32"},
        ),
        "trainer": Classifier(
            f"plain Trainer, {epochs:g} epochs",
            lambda split, of: fit_plain(split, of, epochs),
            {**shared, "epochs": epochs},
        ),
        "embeddings": Classifier(EmbeddingRegression.name, fit_embeddings, shared, seeded=False),
        "tfidf": Classifier(TfidfRegression.name, fit_tfidf, {}, seeded=False),
    }


def installed(names: Sequence[str]) -> list[str]:
    """The classifiers that can be trained here; says how to get the one that may be missing."""
    if "setfit" in names and find_spec("setfit") is None:
        print(f"note: SetFit is not installed, so nothing is trained with it. To have it: {INSTALL_SETFIT}")
        return [name for name in names if name != "setfit"]
    return list(names)


def fit_ours(split: Split, recipe: Recipe) -> Outcome:
    """``train_run``, its own evaluation on the test part included (not in the seconds)."""
    recipe = recipe.model_copy(update={"baselines": False, "export": False})
    with tempfile.TemporaryDirectory() as place:
        run = train_run(split.marked(), recipe, Path(place) / "run", say=lambda line: None)
    assert run.evaluation is not None
    places = {name: place for place, name in enumerate(split.train.label_names)}
    predictions = [places[row["label"]] for row in run.evaluation.rows]
    return Outcome(predictions, run.classifier.facts.training["seconds"])


def fit_plain(split: Split, recipe: Recipe, epochs: float = 3.0) -> Outcome:
    """``transformers.Trainer`` as its tutorials have it; the weights after the last step are taken."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        trainer = plain_trainer(split, recipe, place, epochs=epochs, bf16=_half_precision(recipe))
        trainer.train()
        seconds = time.monotonic() - started
        logits = trainer.predict(tokenised(split.test, trainer.processing_class, recipe)).predictions
    return Outcome(logits.argmax(axis=-1).tolist(), seconds)


def plain_trainer(
    split: Split,
    recipe: Recipe,
    output: str | Path,
    *,
    epochs: float = 3.0,
    batch_size: int = 16,
    learning_rate: float = 5e-5,
    bf16: bool = False,
    **others: Any,
) -> Trainer:
    """The plain Trainer with dynamic padding: random order, linear decay, all else as it comes.

    Checkpoints are left out, which saves it time.

    Args:
        split: trained on ``train``, evaluated on ``validation`` if that is asked for.
        recipe: backbone, length and seed.
        output: a folder that can be thrown away.
        epochs, batch_size, learning_rate: of the training.
        bf16: half precision, which it does not take by itself.
        others: of ``transformers.Trainer``.
    """
    set_seed(recipe.seed)
    backbone = resolve_backbone(recipe.backbone)
    names = split.train.label_names
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(backbone.source, local_files_only=backbone.local)
        model = AutoModelForSequenceClassification.from_pretrained(
            backbone.source, num_labels=len(names), local_files_only=backbone.local, dtype=torch.float32
        )
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(output),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=32,
            learning_rate=learning_rate,
            seed=recipe.seed,
            save_strategy="no",
            disable_tqdm=True,
            report_to="none",
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),  # half precision has to be asked for there
        ),
        train_dataset=tokenised(split.train, tokenizer, recipe),
        eval_dataset=tokenised(split.validation, tokenizer, recipe) if len(split.validation) else None,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        **others,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def tokenised(corpus: Corpus, tokenizer: Any, recipe: Recipe) -> Dataset:
    columns = dict(tokenizer(corpus.texts, truncation=True, max_length=recipe.max_length))
    return Dataset.from_dict({**columns, "labels": corpus.label_ids})


def fit_setfit(split: Split, recipe: Recipe, max_steps: int = 1000) -> Outcome:
    """SetFit (Tunstall et al. 2022) with its defaults: contrastive pairs, then logistic regression."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from setfit import SetFitModel, TrainingArguments
    from setfit import Trainer as SetFitTrainer
    from sklearn.linear_model import LogisticRegression
    from transformers import ProgressCallback

    started = time.monotonic()
    backbone = resolve_backbone(recipe.backbone)
    with quiet_transformers():
        words = Transformer(backbone.source, max_seq_length=recipe.max_length)
        pooling = Pooling(words.get_embedding_dimension(), pooling_mode="mean")
        body = SentenceTransformer(modules=[words, pooling, Normalize()])
    steps, iterations = setfit_steps(split.train.label_ids)
    capped = max_steps < steps
    with tempfile.TemporaryDirectory() as place:
        trainer = SetFitTrainer(
            model=SetFitModel(model_body=body, model_head=LogisticRegression()),
            args=TrainingArguments(
                output_dir=place,
                batch_size=16,
                num_epochs=1,
                # Under a cap, its default sampling gives as many pairs as fit, all of them different; a number
                # of iterations would repeat a few.
                num_iterations=None if capped else iterations,
                # At the end of the one epoch too: without a number, all pairs that there are would be written
                # out before some are taken (twelve million for five thousand sentences).
                max_steps=min(steps, max_steps),
                seed=recipe.seed,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
            ),
            train_dataset=Dataset.from_dict({"text": split.train.texts, "label": split.train.label_ids}),
        )
        for callback in (PrinterCallback, ProgressCallback):  # they print to standard output, where the tables go
            trainer.remove_callback(callback)
        trainer.train()  # in single precision: in half precision its loss rises and all sentences get one label
        seconds = time.monotonic() - started
        predictions = trainer.model.predict(split.test.texts, as_numpy=True, show_progress_bar=False)
    note = f"{max_steps:,} of {steps:,} steps" if capped else ""
    return Outcome([int(place) for place in predictions], seconds, note)


def _half_precision(recipe: Recipe) -> bool:
    """The plain Trainer trains in the precision that the package's own recipe takes here, so that seconds compare."""
    return uses_bf16(recipe.training.precision, "cpu")


def setfit_steps(labels: Sequence[int]) -> tuple[int, int | None]:
    """Steps of one epoch of SetFit at batches of 16 pairs, and its ``num_iterations``.

    Up to eight sentences a label that is None, its default: all pairs, those of the rarer kind (same label or
    not) repeated until there are as many. Above, the paper's 20 pairs of each kind per sentence.
    """
    counts = Counter(labels)
    if max(counts.values()) > _FEW:
        return math.ceil(2 * _ITERATIONS * len(labels) / 16), _ITERATIONS
    same = sum(count * (count + 1) // 2 for count in counts.values())  # SetFit pairs a sentence with itself too
    other = len(labels) * (len(labels) + 1) // 2 - same
    return math.ceil(2 * max(same, other) / 16), None


def fit_embeddings(split: Split, recipe: Recipe) -> Outcome:
    started = time.monotonic()
    regression = EmbeddingRegression(split.train, Embedder(resolve_backbone(recipe.backbone), recipe.max_length))
    seconds = time.monotonic() - started
    return Outcome(regression.predict_proba(split.test.texts).argmax(axis=1).tolist(), seconds)


def fit_tfidf(split: Split, recipe: Recipe) -> Outcome:
    started = time.monotonic()
    regression = TfidfRegression(split.train)
    seconds = time.monotonic() - started
    return Outcome(regression.predict_proba(split.test.texts).argmax(axis=1).tolist(), seconds)
