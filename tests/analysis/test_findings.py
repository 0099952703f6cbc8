import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conflict_framing import UserError
from conflict_framing.analysis import findings_of, write_findings
from conflict_framing.analysis.audit import plan_audit, write_audit
from conflict_framing.analysis.findings import headline, percent, read_for_findings, to_html, told
from conflict_framing.analysis.pictures import all_periods, claims_picture, over_time, side_by_side
from conflict_framing.data import Codebook, split_sentences
from conflict_framing.data.tables import neutralised
from conflict_framing.model.calibration import Calibration

LABELS = ["stabilisation_claim", "escalation_report", "operational_description", "none"]
NASTY = '<script>alert("x")</script>'


def model(folder: Path, seed: int = 0) -> Path:
    """A model folder with what shares need of it: labels, and error rates."""
    folder.mkdir()
    (folder / "config.json").write_text("{}", "utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    chance = np.random.default_rng(seed)
    references = chance.choice(4, 400)
    probabilities = np.stack([said(int(label), chance) for label in references])
    Calibration(
        labels=LABELS,
        temperature=1.0,
        units=(np.arange(400) // 2).tolist(),
        references=references.tolist(),
        probabilities=probabilities.tolist(),
        training_shares=[0.25] * 4,
    ).write(folder / "calibration.json")
    return folder


def said(label: int, chance: np.random.Generator) -> np.ndarray:
    """Probabilities of a model that is mostly right."""
    odds = np.exp(chance.normal(size=4) + 2.5 * (np.arange(4) == label))
    return np.asarray((odds / odds.sum()).round(6))


def predictions(path: Path, *, sources: bool = True, dates: bool = True, more: str = "") -> Path:
    """Officials claim calm throughout; what others report of violence rises from 20 to 70 % in the second quarter."""
    chance = np.random.default_rng(1)
    with path.open("w", encoding="utf-8") as stream:
        for document in range(96):
            quarter = document % 2
            for sentence in range(6):
                official = sentence < 2
                violence = 0.1 if official else 0.2 + 0.5 * quarter
                calm = 0.6 if official else 0.05
                label = int(chance.choice(4, p=[calm, violence, 0.1, 0.9 - calm - violence]))
                p = said(label, chance)
                row: dict[str, Any] = {
                    "document": f"d{document}",
                    "outlet": ["=agency", f"wire {more}"][document // 2 % 2],
                    "text": f"Sentence {sentence} of {document}.",
                    "place": "Kelmar",
                }
                row |= {"date": f"2024-{2 + 3 * quarter:02}-10"} if dates else {}
                row |= {"source_type": "government_or_military" if official else ["", "media"][sentence % 2]}
                row |= {"label": LABELS[int(p.argmax())], "score": float(p.max())}
                row |= {f"p_{name}": float(value) for name, value in zip(LABELS, p, strict=True)}
                row |= {"abstained": False, "truncated": False}
                if not sources:
                    del row["source_type"]
                stream.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    model(folder / "model")
    predictions(folder / "p.jsonl", more=NASTY)
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_everything_stands_in_the_folder(folder: Path) -> None:
    findings = findings_of(
        [folder / "p.jsonl"],
        ["outlet", "quarter"],
        model=folder / "model",
        compare=[(["=agency", "2024-Q2"], ["=agency", "2024-Q1"])],
    )
    report = write_findings(findings, folder / "out")
    pictures = [f"{name}.{kind}" for name in PICTURES for kind in ("png", "svg")]
    assert sorted(path.name for path in report.parent.iterdir()) == sorted(
        ["claims.csv", "differences.csv", "report.html", "shares.csv", *pictures]
    )
    rows = read_csv(folder / "out" / "shares.csv")
    assert len(rows) == 4 * 4
    assert {row["outlet"] for row in rows} == {"'=agency", f"wire {NASTY}"}  # no formula for a spreadsheet
    assert {row["method"] for row in rows} == {"model-based"}
    for row in rows:
        assert 0 <= float(row["share_low"]) <= float(row["share"]) <= float(row["share_high"]) <= 1
    reports = [row for row in read_csv(folder / "out" / "differences.csv") if row["label"] == "escalation_report"]
    assert float(reports[0]["difference_low"]) > 0.1
    page = report.read_text("utf-8")
    assert NASTY not in page and "&lt;script&gt;" in page
    assert "Model-based" in page
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page.replace("xlink:href", "href"))
    assert "http:" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", page) and "https:" not in page  # nothing from outside


PICTURES = ("shares_over_time", "side_by_side", "claims_against_reports")


def test_officials_claim_calm_while_reports_of_others_rise(folder: Path) -> None:
    findings = findings_of([folder / "p.jsonl"], ["quarter"], model=folder / "model")
    first, second = findings.claims.moments
    assert findings.claims.by_whom
    assert (first.claims.sentences, first.reports.sentences) == (96, 192)
    assert first.claims.share == pytest.approx(0.6, abs=0.15)
    assert first.reports.share == pytest.approx(0.2, abs=0.12)
    assert second.reports.share == pytest.approx(0.7, abs=0.12)
    assert second.rise is not None and second.rise[1] > 0.2
    assert first.rise is None
    assert findings.claims.contrasts == [(first, second)]
    assert re.fullmatch(
        r"Kelmar, 2024-Q2: officials claimed stability in \d+ % \(\d+–\d+\) of their sentences, while reports of "
        r"violence rose from \d+ % to \d+ % \(\d+–\d+\) of what others said\.",
        headline(findings),
    )


def test_without_sources_the_chart_says_so(tmp_path: Path) -> None:
    path = predictions(tmp_path / "p.jsonl", sources=False)
    findings = findings_of([path], ["quarter"], model=model(tmp_path / "model"))
    assert not findings.claims.by_whom
    assert findings.claims.moments[0].claims.sentences == 288
    assert "do not tell who said what" in to_html(findings)


def test_without_dates_there_is_no_chart_and_a_reason(tmp_path: Path) -> None:
    path = predictions(tmp_path / "p.jsonl", dates=False)
    findings = findings_of([path], ["outlet"], model=model(tmp_path / "model"))
    assert findings.claims.why_none == "the predictions have no dates (column date, or --date-column)"
    write_findings(findings, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["side_by_side.png"]
    assert "No chart of claims against reports: the predictions have no dates" in to_html(findings)


def test_an_audit_takes_the_models_place(folder: Path, tmp_path: Path) -> None:
    table = read_for_findings([folder / "p.jsonl"], ["outlet"])
    write_audit(plan_audit(table, ["outlet"], 0.1), table, tmp_path / "audit.csv")
    rows = read_csv(tmp_path / "audit.csv")
    for row in rows:
        row["label"] = LABELS[table.predicted[int(row["row"]) - 1]]
    with (tmp_path / "audit.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    findings = findings_of([folder / "p.jsonl"], ["outlet"], audit=tmp_path / "audit.csv")
    assert findings.shares.method == "audited"
    for group in findings.shares.groups:
        assert group.shares is not None
        np.testing.assert_allclose(group.shares, group.naive, atol=0.05)
        assert told(group, 0) == f"{percent(group.shares[0])} {told(group, 0).split(' % ')[1]}"
    page = to_html(findings)
    assert "Audited" in page and "λ of power tuning" in page and "Model-based" not in page
    assert "too few:" not in page
    few = findings_of([folder / "p.jsonl"], ["outlet", "quarter"], audit=tmp_path / "audit.csv", model=folder / "model")
    assert few.notes[-1] == "--model gives no more than the labels' titles: the shares come from the audit."
    assert {told(group, 0) for group in few.shares.groups if group.audited_documents < 30} == {"too few"}
    page = to_html(few)
    assert page.count("too few: under 30 audited documents in the group") == 1 and "audited documents)" not in page
    assert few.shares.rules == [
        "too few: under 30 audited documents in the group, the fewest for an estimate. The audit was planned by "
        "outlet, so no more was drawn for groups by outlet,quarter. Group as it was planned, or plan another audit by "
        "outlet,quarter and label that."
    ]


def test_what_is_missing_is_told(folder: Path, tmp_path: Path) -> None:
    path = folder / "p.jsonl"
    with pytest.raises(UserError, match=r"--model RUN\. Or, better"):
        findings_of([path], ["outlet"])
    (folder / "model" / "calibration.json").rename(folder / "away")
    with pytest.raises(UserError, match=r"no calibration\.json, which holds its error rates"):
        findings_of([path], ["outlet"], model=folder / "model")
    (folder / "away").rename(folder / "model" / "calibration.json")
    with pytest.raises(UserError, match="expected one of year, quarter, month, week at most, came 2"):
        findings_of([path], ["month", "year"], model=folder / "model")
    with pytest.raises(UserError, match="no group 'blog'"):
        findings_of([path], ["outlet"], model=folder / "model", compare=[(["blog"], ["=agency"])])


def test_the_model_must_be_the_one_that_predicted(tmp_path: Path) -> None:
    path, own = predictions(tmp_path / "p.jsonl"), model(tmp_path / "model")
    beside = tmp_path / "p.jsonl.meta.json"
    assert "Nothing tells whether p.jsonl was made by this model" in findings_of([path], [], model=own).notes[0]
    beside.write_text(json.dumps({"model": {"folder": "runs/x", "weights_sha256": {"w": "0" * 64}}}), "utf-8")
    with pytest.raises(UserError, match=r"made by another model \(runs/x\)"):
        findings_of([path], [], model=own)
    # Told even where the named model has no graph, so no calibration of one.
    facts = {"folder": "runs/x", "runtime": "onnx", "weights_sha256": {"w": "0" * 64}}
    beside.write_text(json.dumps({"model": facts}), "utf-8")
    with pytest.raises(UserError, match=r"made by another model \(runs/x\)"):
        findings_of([path], [], model=own)
    with pytest.raises(UserError, match="--model runs/x"):
        findings_of([path], [])
    beside.write_text(json.dumps({"priors": {"method": "EM"}}), "utf-8")
    with pytest.raises(UserError, match="without --adapt-priors"):
        findings_of([path], [], model=own)
    beside.write_text("[]", "utf-8")
    with pytest.raises(UserError, match="damaged"):
        findings_of([path], [], model=own)


def test_stale_files_of_other_findings_go(folder: Path, tmp_path: Path) -> None:
    for name in ("differences.csv", "claims_against_reports.png"):
        (tmp_path / name).write_text("old", "utf-8")
    (tmp_path / "notes.txt").write_text("of the user", "utf-8")
    path = predictions(tmp_path / "p.jsonl", dates=False)
    write_findings(findings_of([path], [], model=folder / "model"), tmp_path)
    assert not (tmp_path / "differences.csv").exists()
    assert not (tmp_path / "claims_against_reports.png").exists()
    assert (tmp_path / "notes.txt").read_text("utf-8") == "of the user"


def test_pictures_fit_the_page_and_are_the_same_each_time(folder: Path) -> None:
    findings = findings_of([folder / "p.jsonl"], ["outlet", "quarter"], model=folder / "model")
    picture = over_time(findings.shares, "quarter", Codebook.bundled())
    assert picture is not None and picture.keys[0].title == "stabilisation claim"
    (title, drawn), _ = picture.to_svg()
    assert title == "=agency"
    assert "currentcolor" in drawn and "#23262b" not in drawn  # readable on dark ground
    assert drawn == picture.to_svg()[0][1]


def test_groups_have_one_order_in_all_panels(folder: Path) -> None:
    from matplotlib.figure import Figure

    findings = findings_of([folder / "p.jsonl"], ["outlet", "quarter"], model=folder / "model")
    picture = side_by_side(findings.shares, Codebook.bundled())
    assert picture is not None and len(picture.panels) == 3
    orders = []
    for panel in picture.panels:
        axes = Figure().add_subplot()
        panel.draw(axes)
        orders.append([label.get_text() for label in axes.get_yticklabels()])
    assert orders[0] == orders[1] == orders[2] and len(orders[0]) == 4
    assert "in the order of their stabilisation claims" in picture.caption


def test_a_picture_without_titles_of_panels_has_no_room_for_them(folder: Path, tmp_path: Path) -> None:
    from matplotlib.pyplot import imread

    findings = findings_of([folder / "p.jsonl"], ["quarter"], model=folder / "model")
    picture = claims_picture(findings.claims, Codebook.bundled())
    assert picture is not None and [panel.title for panel in picture.panels] == ["Kelmar"]
    bare = replace(picture, name="bare", panels=[replace(picture.panels[0], title="")])
    titled, untitled = (imread(one.write(tmp_path)[0]) for one in (picture, bare))
    assert titled.shape[0] - untitled.shape[0] == 45  # 0.3 inches at 150 dots
    assert titled.shape[1] == untitled.shape[1]


def test_periods_between_the_first_and_the_last() -> None:
    assert all_periods("month", ["2024-02", "2023-11", ""]) == ["2023-11", "2023-12", "2024-01", "2024-02"]
    assert all_periods("quarter", ["2023-Q4", "2024-Q1"]) == ["2023-Q4", "2024-Q1"]
    assert all_periods("week", ["2023-W51", "2024-W02"]) == ["2023-W51", "2023-W52", "2024-W01", "2024-W02"]
    assert all_periods("week", ["2020-W53", "2021-W01"]) == ["2020-W53", "2021-W01"]
    assert all_periods("year", ["2020", "2022"]) == ["2020", "2021", "2022"]
    assert all_periods("month", ["May", "April"]) == ["April", "May"]
    assert all_periods("month", [""]) == []


@pytest.mark.parametrize(("share", "text"), [(0.384, "38 %"), (0.004, "0.4 %"), (0.0001, "0 %"), (0.996, "99.6 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "safe"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("-5 dead", "'-5 dead"), ("calm", "calm"), (-0.5, -0.5)]
)
def test_cells_are_no_formulas(value: Any, safe: Any) -> None:
    assert neutralised(value) == safe


def test_the_sample_of_outlets_is_whole() -> None:
    path = Path(__file__).parents[2] / "data" / "samples" / "outlets.jsonl"
    articles = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(articles) == len({article["document"] for article in articles}) == 48
    months = {(article["outlet"], article["date"][:7]) for article in articles}
    assert len(months) == 4 * 6
    for article in articles:
        assert list(article) == ["document", "outlet", "date", "place", "headline", "text"]
    texts = [[span.text for span in split_sentences(article["text"])] for article in articles]
    assert {len(sentences) for sentences in texts} <= {4, 5, 6, 7}
    assert len({text for sentences in texts for text in sentences}) == sum(map(len, texts))
