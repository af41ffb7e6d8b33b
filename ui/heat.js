// Records a second, partition by partition, over the last ten minutes: the darker, the more. A table says the same in numbers.

import { colour } from "./chart.js";
import { h, mark, text } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

/** As the charts above it, so that moments stand under each other. */
const LEFT = 62;
const RIGHT = 22;
const FOOT = 20;
const SPAN = 600;

export class Heat {
  #drawn = null;

  constructor() {
    this.canvas = h("canvas", { role: "img" });
    this.summary = h("p", { class: "summary" });
    this.most = h("b");
    this.scale = h("p", { class: "scale soft" }, "0 ", h("i", { "aria-hidden": "true" }), " ", this.most, " records/s");
    this.none = h("p", { class: "empty" }, "Nothing was sent to it in the last 10 min.");
    this.table = new Table("Partitions", [
      { key: "id", title: "Partition", value: (row) => row.id, cell: (row) => String(row.id), left: true },
      { key: "leader", title: "Leader", value: (row) => row.leader, cell: (row) => (row.leader < 0 ? mark("bad", "none") : String(row.leader)), left: true, hint: "the number of its broker" },
      { key: "rate", title: "Records/s", value: (row) => row.rate, cell: (row) => format.rate(row.rate), hint: "over the last 5 s" },
      { key: "share", title: "Share", value: (row) => row.share, cell: (row) => format.percent(row.share), hint: "of the topic's records, over the last 10 min" },
      { key: "peak", title: "Peak", value: (row) => row.peak, cell: (row) => `${format.rate(row.peak)}/s`, hint: "the busiest 5 s of the last 10 min" },
    ], { start: "-share", empty: "None is known yet." });
    this.map = h("section", { class: "panel heat" }, h("h2", {}, "Heat map of the partitions"), this.summary, this.canvas, this.scale, this.none);
    this.element = h("div", {}, this.map, this.table.element);
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.#say());
  }

  /** Shows `heat`, whose last step ended at `end`, and `partitions` as they are now; all in seconds. */
  draw(heat, partitions, end, now) {
    const totals = sums(heat);
    const all = totals.reduce((sum, { total }) => sum + total, 0);
    const known = new Map(totals.map((one) => [one.id, one]));
    this.table.update(partitions.map((one) => ({ ...one, share: all > 0 ? (known.get(one.id)?.total ?? 0) / all : null, peak: known.get(one.id)?.peak ?? 0 })));
    const is_empty = all === 0;
    this.none.hidden = !is_empty;
    for (const part of [this.canvas, this.scale, this.summary]) part.hidden = is_empty;
    this.#drawn = { heat, end, now, most: Math.max(...totals.map(({ peak }) => peak), 0), words: sentence(totals, all, partitions.length, heat.left_out) };
    this.#say();
    if (!is_empty) this.#paint();
  }

  #say() {
    if (!this.#drawn) return;
    text(this.summary, this.#drawn.words);
    this.canvas.setAttribute("aria-label", `Heat map of the partitions. ${this.#drawn.words}`);
  }

  /** From seconds and lanes to pixels. */
  #frame() {
    const { heat, now, end } = this.#drawn;
    const width = Math.floor(this.map.clientWidth - 2 * parseFloat(getComputedStyle(this.map).paddingLeft));
    const lane = heat.partitions.length <= 12 ? 20 : heat.partitions.length <= 32 ? 14 : 9;
    const span = Math.min(SPAN, Math.max(120, now - (end - heat.columns.length * heat.step)));
    const inner = Math.max(1, width - LEFT - RIGHT);
    return { width, lane, span, height: heat.partitions.length * lane + FOOT, x: (second) => LEFT + ((second - now + span) / span) * inner };
  }

  #paint() {
    const { heat, end, now, most } = this.#drawn;
    const { width, lane, span, height, x } = this.#frame();
    const sharp = devicePixelRatio || 1;
    if (this.canvas.width !== width * sharp || this.canvas.height !== height * sharp) {
      [this.canvas.width, this.canvas.height] = [width * sharp, height * sharp];
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const ink = this.canvas.getContext("2d");
    ink.setTransform(sharp, 0, 0, sharp, 0, 0);
    ink.clearRect(0, 0, width, height);
    const lanes = heat.partitions.length;
    ink.save();
    ink.beginPath();
    ink.rect(LEFT, 0, width - LEFT - RIGHT, height);
    ink.clip();
    heat.columns.forEach((column, place) => {
      const from = end - (heat.columns.length - place) * heat.step;
      const [left, right] = [Math.round(x(from)), Math.round(x(from + heat.step))];
      if (column === null) {
        ink.globalAlpha = 1;
        ink.fillStyle = colour("--line");
        ink.fillRect(left, 0, right - left, lanes * lane);
        return;
      }
      ink.fillStyle = colour("--c1");
      column.forEach((rate, at) => {
        if (rate === 0) return;
        // What is little is seen too.
        ink.globalAlpha = 0.08 + 0.92 * (rate / most);
        ink.fillRect(left, at * lane + 1, right - left, lane - 1);
      });
    });
    ink.restore();
    this.#axes(ink, { width, lane, span, height, x, now });
  }

  #axes(ink, { width, lane, span, height, x, now }) {
    const { partitions } = this.#drawn.heat;
    ink.globalAlpha = 1;
    ink.strokeStyle = colour("--line");
    ink.fillStyle = colour("--soft");
    ink.font = "11px system-ui, sans-serif";
    ink.strokeRect(LEFT + 0.5, 0.5, width - LEFT - RIGHT - 1, partitions.length * lane);
    ink.textAlign = "right";
    ink.textBaseline = "middle";
    const every = Math.ceil(12 / lane);
    partitions.forEach((id, at) => {
      if (at % every === 0) ink.fillText(String(id), LEFT - 6, (at + 0.5) * lane);
    });
    ink.textAlign = "center";
    const room = Math.max(1, Math.floor((width - LEFT - RIGHT) / 70));
    const step = [15, 30, 60, 120, 300].find((one) => span / one <= room) ?? 600;
    for (let second = Math.ceil((now - span) / step) * step; second <= now; second += step) {
      ink.fillText(format.clock(second * 1000).slice(0, step < 60 ? 8 : 5), x(second), height - FOOT / 2 + 2);
    }
    text(this.most, format.rate(this.#drawn.most));
  }

  /** What the pointer is at, in words, in the place of the summary's. */
  #point(event) {
    const { heat, end, now } = this.#drawn ?? {};
    if (!heat) return;
    const { lane, span, width } = this.#frame();
    const second = now - span + ((event.offsetX - LEFT) / (width - LEFT - RIGHT)) * span;
    const place = heat.columns.length - 1 - Math.floor((end - second) / heat.step);
    const at = Math.floor(event.offsetY / lane);
    const column = heat.columns[place];
    if (column === undefined || heat.partitions[at] === undefined) return this.#say();
    const rate = column === null ? "not known: there was no memory for it" : `${format.rate(column[at] ?? 0)} records/s`;
    text(this.summary, `${format.clock(second * 1000)}, partition ${heat.partitions[at]}: ${rate}`);
  }
}

/** What each partition that is drawn had in all, and at most in a second. */
function sums({ partitions, columns, step }) {
  const totals = partitions.map((id) => ({ id, total: 0, peak: 0 }));
  for (const column of columns) {
    column?.forEach((rate, at) => {
      totals[at].total += rate * step;
      totals[at].peak = Math.max(totals[at].peak, rate);
    });
  }
  return totals;
}

function sentence(totals, all, count, leftOut) {
  if (all === 0) return "";
  const top = totals.reduce((most, one) => (one.total > most.total ? one : most));
  const even = format.percent(1 / Math.max(count, totals.length));
  const drawn = leftOut > 0 ? ` The ${totals.length} busiest are drawn, ${format.count(leftOut)} others are not.` : "";
  return `Partition ${top.id} is the busiest: ${format.percent(top.total / all)} of the records of the last 10 min, where an even spread gives ${even}. At most it had ${format.rate(top.peak)} records/s.${drawn}`;
}
