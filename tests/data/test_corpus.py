from collections import Counter
from pathlib import Path

import pytest

from conflict_framing.data import Codebook, Corpus, CorpusError, UserError, load_corpus
from conflict_framing.data.balance import one_sided
from conflict_framing.data.check import check_corpus, check_files
from conflict_framing.data.corpus import bundled_corpus_files

from ..conftest import write_jsonl

DATA = Path(__file__).parents[2] / "data"
DATASHEET = DATA / "DATASHEET.md"
HELD_OUT = sorted(DATA.glob("held_out/*.jsonl"))


def test_bundled_corpus_is_large_whole_and_clean() -> None:
    corpus, problems = check_files(*bundled_corpus_files(), codebook=Codebook.bundled())
    assert problems == []
    assert corpus is not None
    assert one_sided(corpus) == []
    assert len(corpus) >= 8000
    documents = Counter(s.document for s in corpus.sentences if s.document)
    assert sum(8 <= size <= 30 for size in documents.values()) >= 350
    assert len({s.extras["theatre"] for s in corpus.sentences}) >= 40
    assert sum(s.document is None for s in corpus.sentences) >= 1500
    assert min(corpus.counts().values()) >= 1000
    in_documents = Counter(s.label for s in corpus.sentences if s.document)
    assert in_documents["none"] >= 0.5 * in_documents.total()
    ids = [s.extras["id"] for s in corpus.sentences]
    assert len(ids) == len(set(ids))


def test_held_out_documents_share_nothing_with_the_corpus() -> None:
    corpus = load_corpus()
    held_out, problems = check_files(*HELD_OUT, codebook=Codebook.bundled())
    assert problems == []
    assert held_out is not None
    documents = {s.document for s in held_out.sentences}
    assert None not in documents
    assert not documents & {s.document for s in corpus.sentences}
    assert check_corpus(Corpus(corpus.sentences + held_out.sentences, corpus.codebook)) == []
    datasheet = DATASHEET.read_text("utf-8")
    assert f"{len(held_out):,} sentences in {len(documents)} documents" in datasheet
    for name, count in held_out.counts().items():
        assert f"{count:,} `{name}`" in datasheet


def test_datasheet_tells_the_counts_of_the_corpus() -> None:
    datasheet = DATASHEET.read_text("utf-8")
    corpus = load_corpus()
    assert f"{len(corpus):,} sentences: " in datasheet
    for name, count in corpus.counts().items():
        assert f"{count:,} `{name}`" in datasheet
    assert f"{len({s.document for s in corpus.sentences if s.document})} whole documents" in datasheet


def test_bundled_labels_follow_from_the_two_annotators() -> None:
    for sentence in load_corpus().sentences + load_corpus(*HELD_OUT).sentences:
        first, second = sentence.extras["annotator_1"], sentence.extras["annotator_2"]
        if not sentence.extras["adjudicated"]:
            assert sentence.label == first == second, sentence.place


def test_errors_name_path_and_line(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "c.jsonl",
        [
            {"text": "a", "label": "none"},
            {"text": "  ", "label": "none"},
            {"text": "b", "label": None},
            {"text": "c", "label": "none", "split": "holdout"},
        ],
    )
    with path.open("a", encoding="utf-8") as stream:
        stream.write("{broken\n")
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    places = [problem.split(": ")[0] for problem in caught.value.problems]
    assert places == [f"{path}:{line}" for line in (2, 3, 4, 5)]


def test_label_that_differs_in_case_names_its_match(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "c.jsonl", [{"text": "a", "label": "Escalation report"}, {"text": "b", "label": "none"}]
    )
    with pytest.raises(CorpusError, match=r"c.jsonl:1: label 'Escalation report' .* write 'escalation_report'"):
        load_corpus(path)


def test_own_labels_with_variants_are_refused(tmp_path: Path) -> None:
    rows = [{"text": str(n), "label": label} for n, label in enumerate(["war", "war", "peace", "War "])]
    with pytest.raises(CorpusError, match="'War ' differs from 'war' only in case or spaces"):
        load_corpus(write_jsonl(tmp_path / "c.jsonl", rows))


def test_own_labels_are_kept_in_alphabetical_order(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "war"}, {"text": "b", "label": "peace"}, {"text": "c", "label": 3}]
    assert load_corpus(write_jsonl(tmp_path / "c.jsonl", rows)).label_names == ["3", "peace", "war"]


def test_some_of_the_bundled_labels_bring_their_definitions(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "none"}, {"text": "b", "label": "escalation_report"}]
    corpus = load_corpus(write_jsonl(tmp_path / "c.jsonl", rows))
    assert corpus.label_names == ["escalation_report", "none"]
    assert corpus.codebook.labels[0].definition


def test_label_outside_the_given_codebook(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": "a", "label": "weather"}])
    with pytest.raises(CorpusError, match="unknown label 'weather'; the codebook has: stabilisation_claim"):
        load_corpus(path, codebook=Codebook.bundled())


def test_missing_column_lists_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("sentence,label\na,none\n", "utf-8")
    with pytest.raises(UserError, match=r"no column 'text'. Columns found: 'sentence', 'label'.*--text-column"):
        load_corpus(path)
    assert load_corpus(path, text_column="sentence", codebook=Codebook.bundled()).texts == ["a"]
    path.write_text("text|label\na|none\n", "utf-8")
    with pytest.raises(UserError, match="parted by something other"):
        load_corpus(path)


def test_files_of_several_formats_make_one_corpus_and_extras_are_kept(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": "x", "document": 7, "mood": "grim"}])
    two = tmp_path / "b.tsv"
    two.write_text("text\tlabel\tdocument\nb\ty\t\n", "utf-8")
    corpus = load_corpus(one, two)
    assert [(s.text, s.label, s.document) for s in corpus.sentences] == [("a", "x", "7"), ("b", "y", None)]
    assert corpus.sentences[0].extras == {"mood": "grim"}


def test_fingerprint_follows_labels_not_extras(tmp_path: Path) -> None:
    def fingerprint(label: str, mood: str) -> str:
        rows = [{"text": "a", "label": label, "mood": mood}, {"text": "b", "label": "y"}]
        return load_corpus(write_jsonl(tmp_path / "c.jsonl", rows)).fingerprint

    assert fingerprint("x", "grim") == fingerprint("x", "glad")
    assert fingerprint("x", "grim") != fingerprint("z", "grim")


def test_written_corpus_reads_back(tmp_path: Path, corpus_file: Path) -> None:
    corpus = load_corpus(corpus_file)
    corpus.write(tmp_path / "again.jsonl")
    assert load_corpus(tmp_path / "again.jsonl").fingerprint == corpus.fingerprint


def test_a_column_called_label_beside_the_label_column_changes_no_label(tmp_path: Path) -> None:
    rows = [{"statement": "a", "gold": "x", "label": "y"}, {"statement": "b", "gold": "y", "label": "x", "text": "c"}]
    path = write_jsonl(tmp_path / "c.jsonl", rows)
    corpus = load_corpus(path, text_column="statement", label_column="gold")
    corpus.write(tmp_path / "again.jsonl")
    again = load_corpus(tmp_path / "again.jsonl")
    assert (again.texts, again.labels) == (["a", "b"], ["x", "y"])
