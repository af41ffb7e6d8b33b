// Elements. Text only ever goes in as text: names come from clients.

/** An element with properties, event handlers (`onclick`), attributes (`aria-...`, `data-...`) and children. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Sets the text of an element, where it differs: untouched text is not read out again. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Puts `children` in the place of those of `element`. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child != null && child !== false));
}

/** A bar with its value in words. `level` is from 0 to 1; `tone` says good, warn or bad. */
export function bar(level, words, tone = "good") {
  const meter = h("span", { class: "meter", "aria-hidden": "true" });
  const inner = h("i", { class: tone });
  inner.style.width = `${Math.max(0, Math.min(1, level || 0)) * 100}%`;
  meter.append(inner);
  return h("span", { class: "bar" }, meter, h("span", {}, words));
}

/** A word with a sign in front: what it says does not hang on its colour. */
export function mark(tone, words) {
  const sign = { good: "✓", warn: "!", bad: "✕", none: "·" }[tone];
  return h("span", { class: `mark ${tone}` }, h("b", { "aria-hidden": "true" }, sign), ` ${words}`);
}
