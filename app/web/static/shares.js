// Shares of a table: a chart and the same figures as a table.
import { api } from "./api.js";
import { $, complain, count, h, percent } from "./dom.js";
import { isDark } from "./theme.js";

let job, facts, columns, options = {};

export async function openShares(finished, model) {
  const other = job?.id !== finished.id;
  [job, facts] = [finished, model];
  if (other) options = {};
  try {
    columns = await api.columns(job.id);
    if (other && columns.dates.length) options = { by: columns.dates[0], period: "month" };
    else if (other && columns.groups.length) options = { by: columns.groups[0] };
    await show();
  } catch (error) { complain(error.message); }
}

async function show() {
  const found = await api.shares(job.id, options);
  const choices = [
    h("option", { value: "" }, "all sentences"),
    ...columns.groups.map((name) => h("option", { value: name, selected: options.by === name && !options.period }, name)),
    ...columns.dates.map((name) => h("option", { value: `date:${name}`, selected: options.by === name && Boolean(options.period) }, `${name} (over time)`)),
  ];
  const by = h("select", { id: "by", onchange: pick }, choices);
  const period = h("select", { id: "period", onchange: pick },
    ["week", "month", "quarter", "year"].map((name) => h("option", { value: name, selected: options.period === name }, name)));
  const titles = found.labels.map((name) => facts.labels.find((label) => label.name === name)?.title ?? name);
  $("shares").replaceChildren(
    h("div", { class: "row" }, h("label", { class: "inline grow" }, "Group by ", by), options.period ? h("label", { class: "inline" }, "Period ", period) : null),
    columns.dates.length + columns.groups.length ? "" : h("p", { class: "soft" }, "No column of dates (such as 2024-05-17), and none whose values stand often enough to be compared."),
    h("p", { class: "notice" }, found.note),
    h("figure", {}, h("img", { id: "chart", alt: `Shares of the labels ${options.by ? `by ${options.by}` : "in all sentences"}; the table below has the figures.`, src: chart() }),
      h("figcaption", {}, h("a", { class: "button", href: api.chartLink(job.id, { ...options, download: true }), download: true }, "Download SVG"))),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Shares as a table" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, options.period ?? options.by ?? ""), h("th", { scope: "col", class: "number" }, "sentences"), titles.map((title) => h("th", { scope: "col", class: "number" }, title)))),
      h("tbody", {}, found.groups.map((group) => h("tr", {}, h("th", { scope: "row" }, group.name || "all"), h("td", { class: "number" }, count(group.sentences)),
        found.labels.map((name) => h("td", { class: "number", title: count(group.counts[name]) }, percent(group.shares[name])))))))),
  );
}

const chart = () => api.chartLink(job.id, { ...options, theme: isDark() ? "dark" : "light", narrow: matchMedia("(max-width: 30rem)").matches });

function pick(event) {
  const id = event.target.id;
  const value = $("by").value;
  options = value.startsWith("date:") ? { by: value.slice(5), period: $("period")?.value ?? "month" } : { by: value };
  show().then(() => $(id)?.focus()).catch((error) => complain(error.message));
}

document.addEventListener("theme", () => { if (job && $("chart")) $("chart").src = chart(); });
