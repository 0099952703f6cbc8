// System, light or dark; remembered in this browser.
const names = ["system", "light", "dark"];
const button = document.getElementById("theme");
let chosen = "system";
try { chosen = names.find((name) => name === localStorage.getItem("theme")) ?? "system"; } catch { /* storage is off */ }

function show() {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  button.textContent = { system: "Auto", light: "Light", dark: "Dark" }[chosen];
  button.setAttribute("aria-label", `Theme: ${chosen}`);
  document.dispatchEvent(new Event("theme"));
}

export function isDark() {
  return chosen === "dark" || (chosen === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
}

button.addEventListener("click", () => {
  chosen = names[(names.indexOf(chosen) + 1) % names.length];
  try { localStorage.setItem("theme", chosen); } catch { /* it lasts as long as the page */ }
  show();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();
