// Tables that sort, filter and change in place.

import { h, fill, text } from "./dom.js";
import { count } from "./format.js";

const FIRST = 50;

/**
 * `columns` are {key, title, value(row) to sort by, cell(row) that gives text or an element, left, hint, plain (not
 * sortable), more(row) that is said on hover}. `keep` is {sort, query} with `set(name, value)`: what stands in the address.
 */
export class Table {
  #rows = [];
  #shown = new Map();
  #all = false;
  #held = false;
  #order = [];

  constructor(caption, columns, { keep, id = (row) => row.id, link, empty = "Nothing yet.", start = "", search = "" }) {
    Object.assign(this, { columns, keep, id, link, start });
    this.heads = columns.map((column) => this.#head(column));
    this.body = h("tbody");
    this.more = h("button", { class: "more", type: "button", onclick: () => this.#toggle() });
    this.none = h("p", { class: "empty" }, empty);
    this.table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, this.heads)), this.body);
    this.table.addEventListener("pointerenter", () => (this.#held = true));
    this.table.addEventListener("pointerleave", () => (this.#held = false));
    const box = search && h("input", {
      type: "search",
      placeholder: search,
      "aria-label": search,
      oninput: (event) => {
        this.keep.set("query", event.target.value);
        this.#render(true);
      },
    });
    if (box) box.value = keep?.query ?? "";
    this.sum = h("span", { class: "soft" });
    const bar = h("div", { class: "tablebar" }, h("h2", {}, caption), this.sum, box);
    const scroll = h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, this.table);
    this.element = h("section", { class: "panel" }, bar, scroll, this.none, this.more);
    this.#render(true);
  }

  update(rows) {
    this.#rows = rows;
    this.#render(false);
  }

  get #sort() {
    return this.keep?.sort || this.start;
  }

  #head(column) {
    const side = column.left ? "left" : "";
    if (column.plain) return h("th", { scope: "col", class: side, title: column.hint }, column.title);
    const button = h("button", { type: "button", title: column.hint, onclick: () => this.#by(column.key) }, column.title);
    return h("th", { scope: "col", class: side, "data-key": column.key }, button);
  }

  #by(key) {
    const down = this.#sort === `-${key}`;
    this.keep?.set("sort", down ? key : `-${key}`);
    if (!this.keep) this.start = down ? key : `-${key}`;
    this.#render(true);
  }

  /** Says at the heads what the rows are sorted by. */
  #mark(key, falling) {
    for (const head of this.heads) {
      const own = head.dataset.key === key;
      if (head.dataset.key) head.setAttribute("aria-sort", own ? (falling ? "descending" : "ascending") : "none");
    }
  }

  #toggle() {
    this.#all = !this.#all;
    this.#render(true);
  }

  #render(now) {
    const sort = this.#sort;
    const falling = sort.startsWith("-");
    const key = falling ? sort.slice(1) : sort;
    const column = this.columns.find((one) => one.key === key);
    this.#mark(key, falling);
    const query = (this.keep?.query ?? "").toLowerCase();
    let rows = query ? this.#rows.filter((row) => this.id(row).toLowerCase().includes(query)) : [...this.#rows];
    if (column) rows.sort((a, b) => compare(column.value(a), column.value(b)) * (falling ? -1 : 1) || compare(this.id(a), this.id(b)));
    // Rows do not run away from under the pointer.
    if (this.#held && !now && this.#order.length === rows.length) {
      const place = new Map(this.#order.map((id, index) => [id, index]));
      rows.sort((a, b) => (place.get(this.id(a)) ?? 1e9) - (place.get(this.id(b)) ?? 1e9));
    }
    this.#order = rows.map((row) => this.id(row));
    const total = rows.length;
    if (!this.#all) rows = rows.slice(0, FIRST);
    text(this.sum, query ? `${count(total)} of ${count(this.#rows.length)}` : count(total));
    this.none.hidden = this.#rows.length > 0;
    this.table.hidden = this.#rows.length === 0;
    this.more.hidden = total <= FIRST;
    text(this.more, this.#all ? `Show the first ${FIRST}` : `Show all ${count(total)}`);
    this.#place(rows);
  }

  #place(rows) {
    const stays = new Set(rows.map((row) => this.id(row)));
    for (const [id, shown] of this.#shown) {
      if (!stays.has(id)) {
        shown.tr.remove();
        this.#shown.delete(id);
      }
    }
    let before = this.body.firstChild;
    for (const row of rows) {
      const id = this.id(row);
      let shown = this.#shown.get(id);
      if (!shown) {
        shown = this.#row(row, id);
        this.#shown.set(id, shown);
      }
      if (shown.tr === before) before = before.nextSibling;
      else this.body.insertBefore(shown.tr, before);
      this.columns.forEach((column, place) => this.#cell(shown, column, place, row));
    }
  }

  #row(row, id) {
    const cells = this.columns.map((column, place) => {
      const side = [column.left && "left", column.wide && "wide"].filter(Boolean).join(" ");
      return h(place === 0 ? "th" : "td", { scope: place === 0 && "row", class: side });
    });
    const tr = h("tr", { "data-id": id }, cells);
    const href = this.link?.(row);
    if (href) {
      tr.classList.add("goes");
      tr.addEventListener("click", (event) => {
        if (!event.target.closest("a, button, summary")) location.hash = href;
      });
    }
    return { tr, cells, said: [] };
  }

  #cell(shown, column, place, row) {
    const cell = shown.cells[place];
    const value = column.cell(row);
    const words = typeof value === "string" ? value : value.textContent;
    const raw = column.value?.(row);
    if (typeof raw === "number" && Number.isFinite(raw)) cell.dataset.v = raw;
    const title = column.more?.(row);
    if (title != null && cell.title !== title) cell.title = title;
    if (shown.said[place] === words) return;
    shown.said[place] = words;
    if (place === 0 && this.link && typeof value === "string") fill(cell, h("a", { href: this.link(row) }, value));
    else if (typeof value === "string") cell.textContent = value;
    else fill(cell, value);
  }
}

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1);
}
