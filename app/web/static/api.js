// The JSON API of /api; what it refuses becomes an error with the message for people.
export class Refused extends Error {
  constructor(error) { super(error.message); Object.assign(this, error); }
}

async function ask(method, path, body, type = "application/json") {
  let answer;
  try {
    const sent = body === undefined ? {} : { body, headers: { "Content-Type": type } };
    answer = await fetch(`/api/v1/${path}`, { method, ...sent });
  } catch {
    throw new Refused({ code: "no_answer", message: "The server does not answer. Is it still running?" });
  }
  if (answer.status === 204) return null;
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(found.error ?? { code: "unknown", message: `The server answered ${answer.status}.` });
  return found;
}

const query = (values) => {
  const pairs = Object.entries(values).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).filter((one) => one !== "" && one != null).map((one) => [name, one]));
  return new URLSearchParams(pairs).toString();
};

export const api = {
  model: () => ask("GET", "model"),
  sample: () => ask("GET", "sample"),
  jobs: () => ask("GET", "jobs"),
  job: (id) => ask("GET", `jobs/${id}`),
  sendText: (text, title) => ask("POST", "jobs/text", JSON.stringify({ text, title })),
  sendFile: (file, options) =>
    ask("POST", `jobs/file?${query({ name: file.name, ...options })}`, file, "application/octet-stream"),
  cancel: (id) => ask("POST", `jobs/${id}/cancel`),
  remove: (id) => ask("DELETE", `jobs/${id}`),
  result: (id, filter) => ask("GET", `jobs/${id}/result?${query(filter)}`),
  columns: (id) => ask("GET", `jobs/${id}/columns`),
  shares: (id, options) => ask("GET", `jobs/${id}/shares?${query(options)}`),
  explain: (text, label) => ask("POST", "explain", JSON.stringify({ text, label })),
  annotate: (job, row, label) => ask("POST", "annotations", JSON.stringify({ job, row, label })),
  downloadLink: (id, format, filter) => `/api/v1/jobs/${id}/download?${query({ format, ...filter })}`,
  pictureLink: (id, name, panel, options) => `/api/v1/jobs/${id}/pictures/${name}/${panel}.svg?${query(options)}`,
  findingsLink: (id, file, options) => `/api/v1/jobs/${id}/findings/${file}?${query(options)}`,
  plan: (id, options) => ask("GET", `jobs/${id}/audit/plan?${query(options)}`),
  planLink: (id, file, options) => `/api/v1/jobs/${id}/audit/plan/${file}?${query(options)}`,
  giveAudit: (id, audit) => ask("PUT", `jobs/${id}/audit`, JSON.stringify(audit)),
  leaveAudit: (id) => ask("DELETE", `jobs/${id}/audit`),
};
