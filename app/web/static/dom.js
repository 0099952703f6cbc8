// Elements are made of text, never of markup: what somebody sends cannot become part of the page.
export const $ = (id) => document.getElementById(id);

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

export const percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.0095 ? 1 : 0)} %`;
export const count = (value) => value.toLocaleString("en-GB");

export function say(text) {
  $("live").textContent = "";
  // A text that does not change is not read out again.
  requestAnimationFrame(() => { $("live").textContent = text; });
}

export function complain(message) {
  $("failure").textContent = message;
  $("failure").hidden = !message;
}

// Tabs as the ARIA practices have them: arrows move and choose.
export function tabs(list, onChange = () => {}) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const choose = (tab, focus = true) => {
    for (const other of all) {
      const mine = other === tab;
      other.setAttribute("aria-selected", mine);
      other.tabIndex = mine ? 0 : -1;
      $(other.getAttribute("aria-controls")).hidden = !mine;
    }
    if (focus) tab.focus();
    onChange(tab.id);
  };
  all.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { event.preventDefault(); choose(all[(place + step + all.length) % all.length]); }
    });
  });
  return (id) => choose($(id), false);
}
