// A finished job: sentences, filter, the chosen one in detail, corrections.
import { api } from "./api.js";
import { $, complain, count, h, percent, say, tabs } from "./dom.js";
import { openShares } from "./shares.js";

const PAGE = 200;
const WHERE = ["outlet", "date", "place"]; // the same for all sentences of an article
// Of sentences of articles, told otherwise or of no use to a reader.
const OURS = ["article", "paragraph", "start", "end", "sentence", "source", "source_type", "source_start", "source_end", "source_cue"];
const FLOW = 2000; // sentences of an article that are shown as running text
let job, facts, rows, chosen, flowing, asked = 0;

const labelOf = (row) => row.corrected ?? row.label;
const info = (name) => facts.labels.find((label) => label.name === name) ?? { title: name, colour: "#8a8f98" };
const colourOf = (name) => info(name).colour;

const chooseView = tabs($("views"), (id) => { if (id === "tab-shares") openShares(job, facts); });

export async function openResult(finished, model) {
  [job, facts, rows, chosen] = [finished, model, [], null];
  flowing = job.article && job.rows <= FLOW;
  $("result-title").textContent = job.title;
  $("filters").reset();
  $("labels").replaceChildren(...facts.labels.map((label, place) =>
    h("label", { class: "chip", "--c": label.colour, title: label.definition },
      h("input", { type: "checkbox", checked: true, value: label.name }),
      h("span", { class: "swatch", "aria-hidden": "true" }),
      label.title, " ", h("b", { "data-count": label.name }, ""), h("kbd", { "aria-hidden": "true" }, place + 1))));
  $("notes").replaceChildren(
    ...[...job.notes.map((note) => h("p", { class: "notice" }, note)),
      job.truncated > 0 && h("p", { class: "notice" }, `${count(job.truncated)} sentences were longer than the model's window; only their beginning was read.`),
      job.rejected > 0 && h("details", { class: "notice" },
        h("summary", {}, `${count(job.rejected)} rows could not be labelled`),
        h("ul", {}, job.problems.map((problem) => h("li", {}, problem))))].filter(Boolean));
  $("views").hidden = job.article;
  chooseView("tab-sentences");
  await load();
  compare(job);
}

// Whether the text is like that of the training is found out after the labels.
async function compare(mine) {
  let told = mine;
  while (told.drift_warning === null && job === mine) {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    try { told = await api.job(mine.id); } catch { return; }
  }
  if (told.drift_warning && job === mine) $("notes").prepend(h("p", { class: "notice" }, `Unlike the text that the model was trained on: ${told.drift_warning}`));
}

// --- filter

function filter() {
  const boxes = [...$("labels").querySelectorAll("input")];
  const wanted = boxes.filter((box) => box.checked).map((box) => box.value);
  const [low, high] = $("sure").value.split(",").map(Number);
  return {
    // None ticked is a wish for nothing, which an empty list would not say.
    label: wanted.length === boxes.length ? [] : wanted.length ? wanted : ["\u0000"],
    low, high, text: $("search").value.trim(), corrected: $("corrected").checked || "",
  };
}

const isOpen = (asked) => !asked.label.length && asked.low === 0 && asked.high === 1 && !asked.text && !asked.corrected;

async function load(more = false) {
  const mine = ++asked;
  const wanted = filter();
  const page = flowing ? FLOW : PAGE;
  const found = await api.result(job.id, { ...wanted, offset: more ? rows.length : 0, limit: page });
  if (mine !== asked) return; // a later filter has overtaken this answer
  tell(found, wanted);
  const first = more ? rows.length : 0;
  rows = more ? rows.concat(found.rows) : found.rows;
  const running = flowing && isOpen(wanted);
  const shown = found.rows.map((row, place) => element(row, first + place, running));
  if (more) $("rows").append(...shown);
  else $("rows").replaceChildren(...(running ? paragraphs(shown) : shown));
  $("rows").className = running ? "flow" : "list";
  if (!rows.length) $("rows").replaceChildren(h("p", { class: "empty" }, "No sentence passes this filter. ",
    h("button", { type: "button", onclick: () => { $("filters").reset(); change(); } }, "Show all")));
  $("more").hidden = rows.length >= found.matching;
  if (more) return;
  // On a phone, the details cover half of the page: they wait until a sentence is touched.
  choose(rows.length && !narrow() ? 0 : null, false);
  if (rows.length) at(0).tabIndex = 0;
}

function tell(found, wanted) {
  const shown = facts.labels.map((label) => [label, found.counts[label.name]]);
  for (const [label, number] of shown) $("labels").querySelector(`[data-count="${CSS.escape(label.name)}"]`).textContent = count(number);
  const articles = job.articles > 1 ? ` of ${count(job.articles)} articles` : "";
  const where = job.article && found.rows.length ? WHERE.map((name) => found.rows[0].columns[name]).filter(Boolean) : [];
  const seconds = job.seconds < 1 ? "under a second" : `${Math.round(job.seconds)} s`;
  $("summary").textContent = [...where, `${count(found.total)} sentences${articles} in ${seconds}`].join(" · ");
  $("stack").replaceChildren(...shown.filter(([, number]) => number).map(([label, number]) =>
    h("i", { "--c": label.colour, "--w": number, title: `${label.title}: ${count(number)}` })));
  $("stack").setAttribute("aria-label", `Shares: ${shown.map(([label, number]) => `${label.title} ${percent(number / found.total)}`).join(", ")}`);
  $("matching").textContent = isOpen(wanted) ? "" : `${count(found.matching)} of ${count(found.total)} sentences`;
  for (const format of ["csv", "jsonl"]) {
    $(`as-${format}`).href = api.downloadLink(job.id, format, wanted);
    $(`as-${format}`).setAttribute("aria-label", `Download ${isOpen(wanted) ? "all" : "the filtered"} rows as ${format.toUpperCase()}`);
  }
}

let waiting;
function change() {
  clearTimeout(waiting);
  waiting = setTimeout(() => load().catch((error) => complain(error.message)), 150);
}
$("filters").addEventListener("input", change);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => load(true).catch((error) => complain(error.message)));

// --- sentences

function element(row, place, running) {
  const shared = {
    "data-place": place, role: "button", tabindex: -1,
    onclick: () => choose(place), onfocus: () => choose(place, false),
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(place); if (narrow()) $("detail").focus(); } },
  };
  const made = running
    ? h("span", { class: "s", ...shared }, row.text)
    : h("div", { class: "item", ...shared }, h("span", { class: "tag" }), h("span", { class: "p" }, percent(row.score)), h("span", { class: "t" }, row.text), about(row));
  dress(made, row);
  if (speaker(row)) made.title = speaker(row);
  return made;
}

// Who says it, where that was found out.
const speaker = (row) => row.columns.source && `${row.columns.source}${row.columns.source_type ? ` · ${String(row.columns.source_type).replaceAll("_", " ")}` : ""}`;

// What tells a row of a table from others, in short.
function about(row) {
  const told = (job.article ? ["source"] : ["document", "outlet", "date", "place", "source"]).map((name) => row.columns[name]).filter((value) => value != null && value !== "");
  return told.length ? h("span", { class: "soft about" }, told.map(String).join(" · ")) : null;
}

function dress(made, row) {
  const name = labelOf(row);
  made.style.setProperty("--c", colourOf(name));
  made.style.setProperty("--p", row.corrected ? 1 : row.score);
  made.classList.toggle("quiet", name === "none");
  made.classList.toggle("mine", row.corrected != null);
  const tag = made.querySelector(".tag");
  if (tag) tag.textContent = info(name).title + (row.corrected ? " ✓" : "");
  made.setAttribute("aria-label", `${info(name).title}, ${row.corrected ? "corrected" : percent(row.score)}: ${row.text}`);
}

function paragraphs(shown) {
  const made = [];
  let before = null;
  shown.forEach((element, place) => {
    const { paragraph, kind } = rows[place].columns;
    if (paragraph !== before) made.push(h("p", { dir: "auto", class: kind === "body" ? null : "heading" }));
    before = paragraph;
    made.at(-1).append(element, " ");
  });
  if (job.dateline) made.find((paragraph) => paragraph.className !== "heading")?.prepend(h("span", { class: "soft" }, `${job.dateline} `));
  return made;
}

const narrow = () => matchMedia("(max-width: 56rem)").matches;
const at = (place) => $("rows").querySelector(`[data-place="${place}"]`);

function choose(place, focus = true) {
  if (chosen !== null) { at(chosen)?.removeAttribute("aria-current"); if (at(chosen)) at(chosen).tabIndex = -1; }
  const same = chosen === place;
  chosen = place;
  if (place === null) { $("detail").replaceChildren(); return; }
  const made = at(place);
  made.setAttribute("aria-current", "true");
  made.tabIndex = 0; // one stop for Tab; arrows move inside
  if (focus && document.activeElement !== made) made.focus();
  if (!same || !$("detail").childElementCount) detail(rows[place]);
}

// --- the chosen sentence

function detail(row) {
  const place = chosen;
  const explained = h("div", { class: "explained" });
  const bars = facts.labels.map((label) => [label, row.probabilities[label.name]]);
  const told = job.article ? [...OURS, ...WHERE, "document"] : job.articles ? OURS : [];
  const others = Object.entries(row.columns).filter(([name, value]) => value != null && value !== "" && !told.includes(name) && !(name === "kind" && value === "body"));
  $("detail").replaceChildren(...[
    h("button", { type: "button", class: "ghost close", onclick: () => { choose(null); at(place).tabIndex = 0; $("rows").focus(); } }, "Close"),
    h("p", { class: "quote", dir: "auto" }, row.text.length > 600 ? `${row.text.slice(0, 600)} …` : row.text),
    job.articles > 0 && "source" in row.columns && h("p", { class: "soft" }, "Source: ", speaker(row) || "the outlet's own voice", row.columns.source_cue ? ` · “${row.columns.source_cue}”` : ""),
    h("dl", { class: "bars" }, bars.flatMap(([label, value]) => [
      h("dt", { class: label.name === row.label ? "best" : "" }, label.title),
      h("dd", { "--c": label.colour, "--w": `${100 * value}%` }, h("i", {}), h("span", {}, percent(value)))])),
    h("fieldset", { class: "correct" }, h("legend", {}, "Is the label wrong? Choose the right one for this sentence"),
      facts.labels.map((label, number) => h("label", { "--c": label.colour },
        h("input", { type: "radio", name: "right", value: label.name, checked: row.corrected === label.name, onchange: () => correct(label.name) }),
        h("span", { class: "swatch", "aria-hidden": "true" }), label.title, h("kbd", { "aria-hidden": "true" }, number + 1))),
      h("p", { class: "soft saved" }, row.corrected ? `Saved to ${facts.annotations}. ` : "Choosing a label saves the sentence with it as an annotation; the model stays as it is.", row.corrected && h("button", { type: "button", class: "link", onclick: () => correct(null) }, "Take back")),
    ),
    h("button", { type: "button", onclick: () => explain(row, explained), disabled: !facts.explains, title: facts.why_not_explained, id: "explain" }, "Which words moved the model? ", h("kbd", { "aria-hidden": "true" }, "e")),
    facts.explains ? null : h("p", { class: "soft" }, facts.why_not_explained),
    explained,
    others.length ? h("dl", { class: "columns" }, others.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])) : null,
  ].filter(Boolean));
}

async function correct(name) {
  const place = chosen, row = rows[place];
  try {
    const saved = await api.annotate(job.id, row.row, name);
    row.corrected = saved.corrected;
    if (at(place)) dress(at(place), row);
    const inside = $("detail").contains(document.activeElement);
    if (chosen === place) detail(row);
    if (inside) $("detail").querySelector("input:checked, input")?.focus();
    say(name ? `Saved as ${info(name).title}.` : "Taken back.");
    const counts = await api.result(job.id, { ...filter(), limit: 1 });
    tell(counts, filter());
  } catch (error) { complain(error.message); }
}

async function explain(row, into) {
  if (into.dataset.state === "asked") return;
  into.dataset.state = "asked";
  into.replaceChildren(h("p", { class: "soft" }, "Computing …"));
  try {
    const found = await api.explain(row.text, labelOf(row));
    into.replaceChildren(
      h("p", { class: "soft" }, "Towards ", h("b", {}, info(found.label).title), ": ", h("span", { class: "word for", "--a": 1 }, "for"), " ", h("span", { class: "word against", "--a": 1 }, "against")),
      h("p", { class: "quote", dir: "auto" }, found.pieces.map((piece) => Math.abs(piece.strength) < 0.1 ? piece.text
        : h("span", { class: `word ${piece.strength > 0 ? "for" : "against"}`, "--a": Math.abs(piece.strength) }, piece.text))),
      h("p", { class: "soft" }, found.strongest.map((word) => `${word.text} ${word.attribution > 0 ? "+" : "−"}${Math.abs(word.attribution).toFixed(2)}`).join(" · ")),
      h("p", { class: "soft" }, found.caveat, found.complete ? "" : ` ${found.completeness}`));
    say(`Strongest words: ${found.strongest.slice(0, 3).map((word) => word.text).join(", ")}`);
  } catch (error) { into.replaceChildren(h("p", { class: "notice bad" }, error.message)); }
  delete into.dataset.state;
}

// --- keys

export function resultKeys(event) {
  if ($("sentences").hidden) return;
  if (event.key === "/") { event.preventDefault(); $("search").focus(); return; }
  if (chosen === null) return;
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  // Arrows inside a group of radio buttons are the browser's own.
  if (step && event.target.type !== "radio") {
    event.preventDefault();
    const next = chosen + step;
    if (next >= 0 && next < rows.length) { choose(next); at(next).scrollIntoView({ block: "nearest" }); }
    return;
  }
  if (event.key === "e" && facts.explains) { event.preventDefault(); $("explain").click(); return; }
  if (event.key === "0" && rows[chosen].corrected) { event.preventDefault(); correct(null); return; }
  const label = facts.labels[Number(event.key) - 1];
  if (label && /^[1-9]$/.test(event.key)) { event.preventDefault(); correct(label.name); }
}
