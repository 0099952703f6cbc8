// Shares with intervals, claims against reports, and the sample that makes them sure; all computed by the server.
import { api } from "./api.js";
import { $, complain, count, h, percent, say } from "./dom.js";
import { isDark } from "./theme.js";

const PERIODS = ["week", "month", "quarter", "year"];
const WIDTHS = { 0.03: "±3 points", 0.05: "±5 points", 0.08: "±8 points", 0.1: "±10 points" };
let job, facts, columns, options, found, plan;

export async function openShares(finished, model) {
  const other = job?.id !== finished.id;
  [job, facts] = [finished, model];
  if (!other) return;
  $("shares").replaceChildren(h("p", { class: "soft" }, "Estimating …"));
  [found, plan] = [null, null];
  try {
    columns = await api.columns(job.id);
    const preferred = ["outlet", "place"].find((name) => columns.groups.includes(name));
    options = { by: preferred ?? columns.groups[0] ?? "", period: "", date: columns.dates[0] ?? "date" };
    await show();
  } catch (error) { $("shares").replaceChildren(); job = null; complain(error.message); }
}

const asked = () => ({ by: [options.by, options.period].filter(Boolean), date: options.date });

async function show() {
  const mine = job;
  const wanted = asked();
  const controls = choices();
  try {
    const answer = await api.shares(job.id, wanted);
    if (mine !== job) return; // another result was opened meanwhile
    found = { ...answer, asked: wanted };
    complain("");
    $("shares").replaceChildren(controls, ...figures(), audit());
  } catch (error) {
    if (mine !== job) return;
    // The choices stay, so that another one can be made; so does the way to an audit.
    found = null;
    $("shares").replaceChildren(controls, h("p", { class: "notice bad" }, error.message), audit());
  }
}

function choices() {
  const option = (value, title, chosen) => h("option", { value, selected: value === chosen }, title);
  const by = h("select", { id: "by", onchange: pick }, option("", "all sentences", options.by), columns.groups.map((name) => option(name, name, options.by)));
  const period = h("select", { id: "period", onchange: pick, disabled: !columns.dates.length }, option("", columns.dates.length ? "all of it" : "no dates", options.period), PERIODS.map((name) => option(name, `by ${name}`, options.period)));
  const date = h("select", { id: "date", onchange: pick }, columns.dates.map((name) => option(name, name, options.date)));
  return h("div", { class: "row" },
    h("label", { class: "inline" }, "Groups ", by),
    h("label", { class: "inline" }, "Time ", period),
    columns.dates.length > 1 && h("label", { class: "inline" }, "Dates ", date));
}

function pick(event) {
  const id = event.target.id;
  options = { by: $("by").value, period: $("period").value, date: $("date")?.value ?? options.date };
  plan = null;
  $("shares").setAttribute("aria-busy", "true");
  show().finally(() => { $("shares").removeAttribute("aria-busy"); $(id)?.focus(); });
}

// --- the figures

const title = (name) => facts.labels.find((label) => label.name === name)?.title ?? name;
const audited = () => found.method === "audited";

function figures() {
  const files = ["report.html", "shares.csv", ...(found.claims.moments.length ? ["claims.csv"] : [])];
  return [
    found.headline && h("p", { class: "lead" }, found.headline),
    h("p", { class: `notice${audited() ? " good" : ""}` }, found.told),
    found.notes.length > 0 && h("ul", { class: "soft" }, found.notes.map((note) => h("li", {}, note))),
    h("h2", {}, "Shares"),
    h("p", { class: "soft" }, `Estimated, with 95 % intervals: ${found.method}.`),
    table(),
    ...rules(found.groups.flatMap((group) => Object.values(group.shares))),
    ...found.pictures.filter((picture) => picture.name !== "claims_against_reports").map(drawn),
    ...claims(),
    h("div", { class: "row" }, files.map((file) => h("a", { class: "button", download: true, href: api.findingsLink(job.id, file, found.asked) }, `Download ${file}`))),
  ].filter(Boolean);
}

function cell(figure, counted) {
  const hint = counted == null ? null : `${percent(counted)} as counted, errors included`;
  if (figure.share === null) return h("td", { class: "number soft", title: hint }, figure.told || "–");
  const [share, rest] = figure.told.split(" (");
  return h("td", { class: "number", title: hint }, h("b", {}, share), h("small", { class: "soft" }, rest.slice(0, -1)));
}

function scrolled(name, ...content) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, h("table", {}, content));
}

// What the words of cells without an interval mean, once below their table.
function rules(cells) {
  const told = cells.map((figure) => figure.told);
  return Object.entries(found.rules).filter(([short]) => told.some((one) => one.includes(short))).map(([, rule]) => h("p", { class: "soft" }, rule));
}

function table() {
  const heads = [found.by.join(", ") || "group", audited() ? "sentences (audited)" : "sentences", audited() ? "documents (audited)" : "documents"];
  const both = (all, some) => [count(all), audited() && h("small", { class: "soft" }, count(some))].filter(Boolean);
  return scrolled("Shares as a table",
    h("thead", {}, h("tr", {}, heads.map((name, place) => h("th", { scope: "col", class: place ? "number" : "" }, name)), found.labels.map((name) => h("th", { scope: "col", class: "number" }, title(name))))),
    h("tbody", {}, found.groups.map((group) => h("tr", {},
      h("th", { scope: "row" }, group.name),
      h("td", { class: "number" }, both(group.sentences, group.audited_sentences)),
      h("td", { class: "number" }, both(group.documents, group.audited_documents)),
      found.labels.map((name) => cell(group.shares[name], group.counted[name]))))));
}

function drawn(picture) {
  return h("section", { "aria-label": picture.title },
    h("h2", {}, picture.title),
    picture.keys.length > 0 && h("ul", { class: "legend" }, picture.keys.map((key) => h("li", { "--c": key.colour }, h("i", { class: `m-${key.marker}`, "aria-hidden": "true" }), key.title))),
    h("div", { class: "panels" }, picture.panels.map((panel, place) => h("figure", {},
      panel.title && h("figcaption", {}, panel.title),
      h("img", { alt: panel.label, loading: "lazy", width: picture.width, height: picture.height, "data-picture": picture.name, "data-panel": place, src: source(picture.name, place) })))),
    h("p", { class: "soft" }, picture.caption));
}

const source = (name, panel) => api.pictureLink(job.id, name, panel, { ...found.asked, theme: isDark() ? "dark" : "light" });

function claims() {
  const { claims: told } = found;
  const picture = found.pictures.find((one) => one.name === "claims_against_reports");
  if (!picture) return [h("h2", {}, "Claims against reports"), h("p", { class: "soft" }, `Not shown: ${told.why_none || "nothing to compare"}.`)];
  const heads = ["place", told.period, told.by_whom ? "claims of calm by officials" : "claims of calm", told.by_whom ? "reports of violence by others" : "reports of violence"];
  return [
    drawn(picture),
    h("details", {}, h("summary", {}, "The same as a table"), scrolled("Claims against reports as a table",
      h("thead", {}, h("tr", {}, heads.map((name, place) => h("th", { scope: "col", class: place > 1 ? "number" : "" }, name)))),
      h("tbody", {}, told.moments.map((one) => h("tr", {}, h("th", { scope: "row" }, one.place || "all"), h("td", {}, one.period), cell(one.claims), cell(one.reports))))), ...rules(told.moments.flatMap((one) => [one.claims, one.reports]))),
  ];
}

document.addEventListener("theme", () => {
  if (job && found) for (const image of $("shares").querySelectorAll("img[data-picture]")) image.src = source(image.dataset.picture, image.dataset.panel);
});

// --- a random sample that people label

function audit() {
  const width = h("select", { id: "width" }, Object.entries(WIDTHS).map(([value, name]) => h("option", { value, selected: (plan?.asked.half_width ?? "0.05") === value }, name)));
  const whole = h("input", { id: "whole", type: "checkbox", checked: plan?.asked.by_document === true });
  const chosen = h("input", { id: "audit-files", type: "file", multiple: true, accept: ".csv,.tsv,.jsonl,.json" });
  return h("details", { class: "card", id: "audit", open: Boolean(plan) || job.audited || !found || Boolean($("audit")?.open) },
    h("summary", {}, job.audited ? "Audited: a random sample that people labelled is used" : "Make them sure: label a random sample"),
    h("p", { class: "soft" }, "From a random sample of these rows that people labelled, shares are right whatever the model's errors. Draw it, fill the column label from the top, and bring it back with its metadata. Sentences that somebody picked are no such sample."),
    h("form", { class: "row", id: "plan-form", onsubmit: (event) => { event.preventDefault(); draw(); } },
      h("label", { class: "inline" }, "Intervals of about ", width),
      h("label", { class: "check" }, whole, " whole documents"),
      h("button", { type: "submit" }, "Plan")),
    h("div", { id: "planned" }, plan ? planned() : ""),
    h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); give([...chosen.files]); } },
      h("label", { class: "inline grow" }, "The labelled file and its .meta.json", chosen),
      h("button", { type: "submit" }, "Use this audit"),
      job.audited && h("button", { type: "button", onclick: leave }, "Leave it out")),
    h("p", { class: "notice bad", id: "audit-failure", role: "alert", hidden: true }));
}

function failed(message) {
  $("audit-failure").textContent = message;
  $("audit-failure").hidden = !message;
}

async function draw() {
  const wanted = { ...asked(), half_width: $("width").value, by_document: $("whole").checked };
  failed("");
  try {
    plan = { ...await api.plan(job.id, wanted), asked: wanted };
    $("planned").replaceChildren(planned());
    say(`${count(plan.sentences)} sentences to label`);
  } catch (error) { failed(error.message); }
}

function planned() {
  const heads = ["group", "sentences to label", "of documents", "expected", "set by", "design effect"];
  const files = ["audit.csv", "audit.csv.meta.json"];
  const short = plan.groups.filter((group) => group.note && group.half_width !== null);
  return h("div", {},
    h("p", { class: "soft" }, `${count(plan.sentences)} sentences to label.`, short.length ? ` ${short.map((group) => group.name).join(", ")}: ${short[0].note}.` : ""),
    scrolled("The plan",
      h("thead", {}, h("tr", {}, heads.map((name, place) => h("th", { scope: "col", class: place ? "number" : "" }, name)))),
      h("tbody", {}, plan.groups.map((group) => h("tr", {}, h("th", { scope: "row" }, group.name),
        ...group.half_width === null ? [h("td", { colspan: 5, class: "soft" }, group.note)] : [
          h("td", { class: "number" }, `${count(group.sentences)} of ${count(group.of_sentences)}`),
          h("td", { class: "number" }, `${count(group.documents)} of ${count(group.of_documents)}`),
          h("td", { class: "number" }, `±${(100 * group.half_width).toFixed(1)} points`),
          h("td", { class: "number" }, group.limit),
          h("td", { class: "number" }, group.design_effect.toFixed(1))])))),
    ...plan.rules.map((rule) => h("p", { class: "soft" }, rule)),
    h("div", { class: "row" }, files.map((file) => h("a", { class: "button", download: true, href: api.planLink(job.id, file, plan.asked) }, `Download ${file}`))));
}

async function give(files) {
  const metadata = files.find((file) => file.name.endsWith(".json"));
  const labelled = files.find((file) => file !== metadata);
  if (!metadata || !labelled) { failed("Choose two files: the labelled table and its .meta.json."); return; }
  failed("");
  try {
    const answer = await api.giveAudit(job.id, { name: labelled.name, table: await labelled.text(), metadata: await metadata.text() });
    job.audited = true;
    await show();
    say(`${count(answer.labels)} labels are used.`);
  } catch (error) { failed(error.message); }
}

async function leave() {
  try { await api.leaveAudit(job.id); job.audited = false; await show(); } catch (error) { failed(error.message); }
}
