"""A tiny random model and a tiny corpus, so that unit tests train and predict in a second."""

import json
import random
import shutil
from pathlib import Path

import pytest

from conflict_framing.data import Corpus, load_corpus
from conflict_framing.data.tables import write_table
from conflict_framing.model.layout import ModelLayout
from conflict_framing.train import load_recipe, train_run
from conflict_framing.train.fit import Run
from conflict_framing.train.recipe import Recipe

_WORDS = {
    "calm": ["calm", "quiet", "stable", "peaceful", "restored", "safe"],
    "attack": ["attack", "shelling", "clashes", "killed", "ambush", "raid"],
    "move": ["convoy", "patrol", "deployed", "checkpoint", "trucks", "arrived"],
}
_FILLERS = ["the", "town", "river", "army", "said", "north", "on", "monday", "near", "ministry", "road", "and"]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """For models this small, a second thread costs more than it brings, above all on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with a word vocabulary, in the Hugging Face format."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("backbone")
    words = sorted({word for group in _WORDS.values() for word in group} | set(_FILLERS))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=48)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.2,  # without training to start from, small weights learn too slowly
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_rows(n: int = 240, seed: int = 0) -> list[dict[str, object]]:
    """Sentences whose label is the list that one of their words comes from; three to a document."""
    chance = random.Random(seed)
    rows: list[dict[str, object]] = []
    for number in range(n):
        label = list(_WORDS)[number % 3]
        words = chance.choices(_FILLERS, k=chance.randint(3, 12))
        words.insert(chance.randrange(len(words)), chance.choice(_WORDS[label]))
        words.insert(chance.randrange(len(words)), chance.choice(_WORDS[label]))
        rows.append({"text": f"{' '.join(words)} .", "label": label, "document": f"d{number // 3}", "id": number})
    return rows


def write_inputs(folder: Path, n: int) -> Path:
    """A new folder of tables in three formats with n rows in all, some of which have no text."""
    folder.mkdir()
    rows = tiny_rows(n, seed=3)
    for number in (5, 70, 71):
        rows[number]["text"] = ""
    write_jsonl(folder / "a.jsonl", rows[:60])
    write_table(folder / "b.csv.gz", rows[60:100])
    write_table(folder / "c.parquet", rows[100:])
    return folder


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", tiny_rows())


@pytest.fixture(scope="session")
def corpus(corpus_file: Path) -> Corpus:
    return load_corpus(corpus_file)


@pytest.fixture(scope="session")
def recipe(backbone: Path) -> Recipe:
    """The tiny model's recipe: learns the tiny corpus in a second."""
    return load_recipe(
        "default",
        [
            f"backbone={backbone}",
            "training.epochs=6",
            "training.batch_size=8",
            "training.learning_rate=4e-3",
            "training.freeze_embeddings=false",
            "training.freeze_layers=0",
            "training.max_sentences=null",
            "training.min_sentences=null",
            "training.noise=0",
            "few_labels.up_to=null",
            "export=false",
        ],
    )


@pytest.fixture(scope="session")
def run(corpus: Corpus, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the tiny model."""
    return train_run(corpus, recipe, tmp_path_factory.mktemp("runs") / "tiny", device="cpu", say=lambda line: None)


@pytest.fixture(scope="session")
def calibrated(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a calibration part on which its less sure half is wrong."""
    import numpy as np

    from conflict_framing.model.calibration import Calibration

    folder = Path(shutil.copytree(run.layout.model, tmp_path_factory.mktemp("calibrated") / "model"))
    probabilities = run.classifier.predict_proba([str(row["text"]) for row in tiny_rows(600, seed=9)])
    scores, labels = probabilities.max(axis=1), probabilities.argmax(axis=1)
    Calibration(
        labels=run.classifier.classes_,
        temperature=1.0,
        units=[number // 2 for number in range(600)],
        references=np.where(scores >= np.median(scores), labels, (labels + 1) % 3).tolist(),
        probabilities=probabilities.tolist(),
        training_shares=[1 / 3] * 3,
    ).write(ModelLayout(folder).calibration)
    return folder


@pytest.fixture(scope="session")
def graphs(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model's graphs by name, none chosen yet."""
    from conflict_framing.model import CheckpointClassifier
    from conflict_framing.train.export import make_candidates

    classifier = CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu", runtime="torch")
    return make_candidates(classifier, tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session", params=["fp32", "int8", "int8-blocks"])
def exported(
    request: pytest.FixtureRequest, run: Run, graphs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the tiny run with a graph in full precision, and ones with 8-bit graphs, whatever they agree."""
    from conflict_framing.train import export

    folder = Path(shutil.copytree(run.layout.folder, tmp_path_factory.mktemp("exported") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "make_candidates", lambda classifier, scratch: {request.param: graphs[request.param]})
        patch.setattr(export, "LEAST_AGREEMENT", 0.0)
        patch.setattr(export, "MOST_DIFFERENCE", 1.0)
        export.export_folder(folder, say=lambda line: None)
    return folder


@pytest.fixture(scope="session")
def cascaded(run: Run, graphs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run with a graph in full precision and a first stage before it."""
    from conflict_framing.train import export
    from conflict_framing.train.cascade import Unlabelled, cascade_folder
    from conflict_framing.train.recipe import CascadeSettings

    folder = Path(shutil.copytree(run.layout.folder, tmp_path_factory.mktemp("cascaded") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "make_candidates", lambda classifier, scratch: {"fp32": graphs["fp32"]})
        export.export_folder(folder, say=lambda line: None)
    rows = tiny_rows(420, seed=21)
    unlabelled = Unlabelled([str(row["text"]) for row in rows], [str(row["document"]) for row in rows])
    settings = CascadeSettings(most_changed=0.1, max_sentences=None)
    cascade_folder(folder, unlabelled, settings, say=lambda line: None)
    return folder
