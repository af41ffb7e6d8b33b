// Curves over the last ten minutes, by uPlot, each with a sentence that says the same.

import uPlot from "./uplot.js";
import { h, text } from "./dom.js";
import { clock } from "./format.js";

const SPAN = 600;
const HEIGHT = 150;
const charts = new Set();

/** The value of a colour that the style sheet names; it depends on light and dark. */
export function colour(name) {
  const probe = h("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/**
 * A figure. `series` are {name, colour (of the style sheet), dash, fill}; `show` writes a value; `most` is the least
 * that the axis reaches to.
 */
export class Chart {
  #plot = null;
  #data = [];
  #width = 0;
  #at = 0;

  constructor(title, series, show, { most = 1, top = null } = {}) {
    Object.assign(this, { title, series, show, most, top });
    this.box = h("div", { class: "plot", role: "img" });
    this.summary = h("p", { class: "summary" }, "No data yet.");
    const key = series.length > 1 && h("span", { class: "key" }, series.map((one) => {
      const swatch = h("i", { class: one.dash ? "dashed" : "" });
      swatch.style.borderColor = `var(${one.colour})`;
      return h("span", {}, swatch, one.name);
    }));
    this.element = h("figure", {}, h("figcaption", {}, h("b", {}, title), key), this.box, this.summary);
    this.sizes = new ResizeObserver(() => this.#fit());
    this.sizes.observe(this.box);
    charts.add(this);
  }

  /** Shows `columns` (seconds since the epoch, then one for each series), up to `at`. */
  draw(columns, at) {
    this.#data = columns;
    this.#at = at;
    if (this.#plot) this.#plot.setData(columns);
    else this.#fit();
    const sentence = this.#sentence(columns);
    text(this.summary, sentence);
    this.box.setAttribute("aria-label", `${this.title}. ${sentence}`);
  }

  /** As long as there are points, from two minutes to ten. */
  #span() {
    return Math.min(SPAN, Math.max(120, this.#at - (this.#data[0][0] ?? this.#at)));
  }

  #sentence([times, ...columns]) {
    const minutes = Math.round((times.at(-1) - times[0]) / 60) || 1;
    const parts = this.series.map(({ name }, place) => {
      const values = columns[place].filter((value) => value != null);
      if (values.length === 0) return null;
      const last = columns[place].at(-1);
      const most = Math.max(...values);
      const least = Math.min(...values);
      return `${this.series.length > 1 ? `${name} ` : ""}${last == null ? "–" : this.show(last)} (${this.show(least)} to ${this.show(most)})`;
    });
    const said = parts.filter(Boolean).join(", ");
    return said ? `Now ${said} over the last ${minutes === 1 ? "minute" : `${minutes} min`}.` : "No data in the last 10 min.";
  }

  #fit() {
    const width = Math.floor(this.box.clientWidth);
    if (width === 0 || this.#data.length === 0) return;
    if (this.#plot && width === this.#width) return;
    this.#width = width;
    if (this.#plot) this.#plot.setSize({ width, height: HEIGHT });
    else this.#make();
  }

  #make() {
    const ink = colour("--soft");
    const line = colour("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const options = {
      width: this.#width,
      height: HEIGHT,
      padding: [8, 22, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => [this.#at - this.#span(), this.#at] },
        y: { range: (_, __, max) => [0, this.top ?? Math.max(this.most, (max ?? 0) * 1.1)] },
      },
      axes: [
        { ...axis, size: 24, space: 70, values: (_, ticks) => ticks.map((tick) => clock(tick * 1000).slice(0, ticks[1] - ticks[0] < 60 ? 8 : 5)) },
        { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "0" : this.show(tick))) },
      ],
      series: [
        {},
        ...this.series.map((one) => {
          const stroke = colour(one.colour);
          return { label: one.name, stroke, width: 1.5, dash: one.dash, points: { show: () => this.#data[0].length < 3, size: 4 }, spanGaps: false };
        }),
      ],
      hooks: {
        setCursor: [(plot) => this.#point(plot.cursor.idx)],
      },
    };
    this.#plot = new uPlot(options, this.#data, this.box);
  }

  /** What the pointer is at, in words, in the place of the summary's. */
  #point(index) {
    if (index == null) return;
    const values = this.series.map(({ name }, place) => {
      const value = this.#data[place + 1][index];
      return `${name} ${value == null ? "–" : this.show(value)}`;
    });
    text(this.summary, `${clock(this.#data[0][index] * 1000)}: ${values.join(", ")}`);
  }

  #forget() {
    this.#plot?.destroy();
    this.#plot = null;
  }

  /** Colours have changed. */
  static repaint() {
    for (const chart of charts) {
      chart.#forget();
      chart.#fit();
    }
  }

  /** The view is left. */
  static clear() {
    for (const chart of charts) {
      chart.sizes.disconnect();
      chart.#forget();
    }
    charts.clear();
  }
}
