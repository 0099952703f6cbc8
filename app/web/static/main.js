// The page: send, watch, show.
import { api } from "./api.js";
import { $, complain, count, h, say, tabs } from "./dom.js";
import { openResult, resultKeys } from "./result.js";
import "./theme.js";

const POLL = 500; // ms
let watched = null; // the id of the job that is shown or waited for

function show(section) {
  for (const id of ["input", "progress", "result"]) $(id).hidden = id !== section;
  complain("");
}

async function guarded(work) {
  try { complain(""); await work(); } catch (error) { failed(error); }
}

function failed(error) {
  complain(error.message);
  if (error.columns?.length) offerColumns(error.columns);
}

function offerColumns(columns) {
  $("columns").replaceChildren(...columns.map((name) => h("option", { value: name })));
  $("failure").append(h("span", { class: "choices" }, columns.slice(0, 12).map((name) =>
    h("button", { type: "button", onclick: () => { $("text-column").value = name; $("file").requestSubmit(); } }, name))));
}

// --- sending

const chooseInput = tabs($("input").querySelector('[role="tablist"]'));

$("paste").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => watch(await api.sendText($("text").value, $("title").value)));
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("paste").requestSubmit();
});
$("sample").addEventListener("click", () => guarded(async () => {
  const sample = await api.sample();
  $("text").value = sample.text;
  $("title").value = sample.title;
  $("text").focus();
}));
$("file").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const file = $("chosen").files[0];
    if (!file) throw new Error("Choose a file first.");
    if (file.size > limits.upload_bytes) throw new Error(`${file.name} is larger than ${count(limits.upload_bytes / 2 ** 20)} MiB. Send it in parts, or packed (.gz).`);
    showProgress({ title: file.name, state: "sending" });
    try {
      watch(await api.sendFile(file, { text_column: $("text-column").value.trim(), encoding: $("encoding").value.trim(), rows: $("rows-are").value }));
    } catch (error) { show("input"); throw error; }
  });
});
$("chosen").addEventListener("change", () => { $("text-column").value = ""; $("columns").replaceChildren(); complain(""); });
for (const kind of ["dragenter", "dragover"]) $("drop").addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) $("drop").addEventListener(kind, () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) { $("chosen").files = event.dataTransfer.files; $("chosen").dispatchEvent(new Event("change")); }
});

// --- watching

function watch(job) {
  watched = job.id;
  history.replaceState(null, "", `#${job.id}`);
  showProgress(job);
  $("progress-title").focus();
  say(`${job.title}: ${job.state}`);
  follow(job.id);
}

async function follow(id) {
  let told = 0;
  while (watched === id) {
    let job;
    try { job = await api.job(id); } catch (error) { watched = null; show("input"); failed(error); return; }
    if (watched !== id) return;
    if (job.state === "done") { finished(job); return; }
    if (job.state === "failed" || job.state === "cancelled") {
      watched = null;
      history.replaceState(null, "", location.pathname);
      show("input");
      chooseInput(job.state === "failed" && job.error.columns ? "tab-file" : inputOf());
      if (job.state === "failed") failed(job.error);
      else say("Cancelled.");
      $("input-title").scrollIntoView();
      listJobs();
      return;
    }
    showProgress(job);
    // Told to screen readers at every tenth, not at every look.
    const tenth = Math.floor((10 * job.done) / (job.rows || 1));
    if (tenth > told) { told = tenth; say(`${tenth * 10} per cent`); }
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

const inputOf = () => ($("file").hidden ? "tab-paste" : "tab-file");

function showProgress(job) {
  show("progress");
  $("progress-title").textContent = job.title;
  $("cancel").hidden = job.state === "sending";
  if (["attributing", "labelling"].includes(job.state) && job.rows) { $("meter").max = job.rows; $("meter").value = job.done; } else $("meter").removeAttribute("value");
  const parts = {
    sending: ["Sending …"],
    waiting: [job.ahead ? `Waiting for ${count(job.ahead)} other job${job.ahead > 1 ? "s" : ""} …` : "Waiting …"],
    reading: ["Reading and checking …"],
    attributing: [`Who says it: ${count(job.done ?? 0)} of ${count(job.rows ?? 0)} sentences`],
    labelling: [`${count(job.done ?? 0)} of ${count(job.rows ?? 0)} rows`],
  }[job.state] ?? [];
  if (job.rows_per_second) parts.push(`${count(Math.round(job.rows_per_second))} rows/s`);
  if (job.seconds_left != null) parts.push(`${duration(job.seconds_left)} left`);
  $("told").textContent = parts.join(" · ");
}

const duration = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

$("cancel").addEventListener("click", () => guarded(async () => { $("cancel").disabled = true; try { await api.cancel(watched); } finally { $("cancel").disabled = false; } }));

async function finished(job) {
  show("result");
  await guarded(() => openResult(job, facts));
  $("result-title").focus();
  say(`${job.title}: ${count(job.rows)} sentences labelled.`);
  listJobs();
}

// --- earlier jobs

async function listJobs() {
  const { jobs } = await api.jobs();
  const others = jobs.filter((job) => job.id !== watched && job.state !== "failed" && job.state !== "cancelled");
  $("earlier").hidden = !others.length;
  $("jobs").replaceChildren(...others.map((job) => h("li", { class: "job" },
    h("button", { type: "button", class: "link", onclick: () => watch(job) }, job.title),
    h("span", { class: "soft" }, job.state === "done" ? `${count(job.rows)} rows` : job.state),
    h("button", { type: "button", class: "ghost", "aria-label": `Delete ${job.title}`, onclick: () => guarded(async () => { await api.remove(job.id); await listJobs(); }) }, "Delete"))));
}

function startAgain() {
  watched = null;
  history.replaceState(null, "", location.pathname);
  show("input");
  ($("paste").hidden ? $("chosen") : $("text")).focus();
  listJobs();
}
$("again").addEventListener("click", startAgain);

// --- keys

$("keys").addEventListener("click", () => $("help").showModal());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") { event.preventDefault(); $("help").showModal(); return; }
  if ($("result").hidden) return;
  if (event.key === "n") { event.preventDefault(); startAgain(); return; }
  resultKeys(event);
});

// --- beginning

let facts, limits;
guarded(async () => {
  facts = await api.model();
  limits = facts.limits;
  $("model").textContent = facts.name;
  $("model").title = `${facts.backbone}, trained on ${count(facts.corpus_sentences)} sentences`;
  $("annotations").textContent = facts.annotations;
  $("takes").textContent += ` Up to ${count(limits.upload_bytes / 2 ** 20)} MiB and ${count(limits.rows)} rows.`;
  const id = location.hash.slice(1);
  if (/^[\w-]{10,40}$/.test(id)) {
    try { watch(await api.job(id)); return; } catch { history.replaceState(null, "", location.pathname); }
  }
  await listJobs();
});
