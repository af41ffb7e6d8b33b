// What tables and charts of several views have in common. Nothing here knows a view.

import { h, mark } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

export const enc = encodeURIComponent;
export const clientLink = (id) => `#/client/${enc(id)}`;
export const topicLink = (id) => `#/topic/${enc(id)}`;

export const sum = (codes) => Object.values(codes).reduce((all, n) => all + n, 0);

/** Codes with their numbers, the most frequent first. */
export const ranked = (codes) => Object.entries(codes ?? {}).sort((a, b) => b[1] - a[1]);

const codeWords = (codes) => ranked(codes).map(([code, n]) => `${code} ${format.count(n)}`).join(", ") || "none";

/** What part of the refusals each code has, the most frequent first: [code, part]. */
export function shares(codes) {
  const all = sum(codes ?? {});
  return ranked(codes).map(([code, n]) => [code, n / all]);
}

/** Codes that a cell names. */
const MOST = 3;

/** The shares of the last minute, in words. */
function shareWords(row) {
  const list = shares(row.recent);
  const words = list.slice(0, MOST).map(([code, part]) => `${code} ${format.percent(part).replaceAll(" ", "\u00a0")}`);
  if (list.length > MOST) words.push(`${list.length - MOST} more`);
  return words.join(", ") || "–";
}

function refusals(row) {
  if (row.rf === 0) return "0";
  return `${format.rate(row.rf)} (${format.percent(row.rf / Math.max(row.rq, row.rf))})`;
}

export const tone = (left) => (left < 0.1 ? "bad" : left < 0.3 ? "warn" : "good");

export const failed = (row) => (row.outcomes.failed ?? 0) + (row.outcomes.unknown ?? 0);

/** The columns that clients and topics share. */
export function common(feed) {
  const took = (row) => format.took(row.p99, feed.hello?.slowest);
  return {
    ev: { key: "ev", title: "Events/s", value: (row) => row.ev, cell: (row) => format.rate(row.ev), hint: "over the last 5 s" },
    by: { key: "by", title: "Bytes/s", value: (row) => row.by, cell: (row) => format.byteRate(row.by), hint: "over the last 5 s" },
    rf: { key: "rf", title: "Refused/s", value: (row) => row.rf, cell: refusals, hint: "requests, and their part of all requests; over the last 5 s" },
    p99: { key: "p99", title: "p99", value: (row) => format.tookOrder(row.p99), cell: took, hint: "acknowledgement by Kafka, over the last 60 s" },
    events: { key: "events", title: "Events", value: (row) => row.events, cell: (row) => format.count(row.events), hint: "since the start" },
    bytes: { key: "bytes", title: "Bytes", value: (row) => row.bytes, cell: (row) => format.bytes(row.bytes), hint: "since the start" },
    refused: { key: "refused", title: "Refused", value: (row) => sum(row.codes), cell: (row) => format.count(sum(row.codes)), hint: "requests since the start" },
    codes: {
      key: "codes", title: "Why refused", value: (row) => sum(row.recent ?? {}), cell: shareWords, left: true, wide: true,
      more: (row) => `since the start: ${codeWords(row.codes)}`,
      hint: "codes by their share of the refused requests, over the last 60 s; sorted by how many they were",
    },
  };
}

/** Clients within a topic, topics within a client. */
export function part(feed, caption, link, keep) {
  const c = common(feed);
  return new Table(caption, [
    { key: "id", title: caption.slice(0, -1), value: (row) => row.id, cell: (row) => row.id, left: true },
    c.ev, c.by, c.rf, c.codes, c.p99, c.events, c.bytes,
    { key: "errors", title: "Not written", value: failed, cell: (row) => format.count(failed(row)), hint: "events that failed, or whose fate is unknown, since the start" },
    c.refused,
  ], { keep, start: "-ev", link: (row) => link(row.id) });
}

export const COLOURS = { events: "--c1", p50: "--c2", p99: "--c1", refused: "--c3", failed: "--c4" };
export const RATE = [{ name: "events", colour: COLOURS.events }];
export const ACK = [{ name: "p99", colour: COLOURS.p99 }, { name: "p50", colour: COLOURS.p50, dash: [4, 3] }];
export const REFUSED = [{ name: "refused", colour: COLOURS.refused }, { name: "failed", colour: COLOURS.failed, dash: [4, 3] }];

export const column = (points, place) => points.map((point) => point[place] ?? null);

/** A curve in steps as columns: times first. */
export function unfold(curve) {
  const { step, points, at } = curve;
  const end = at / 1000;
  const times = points.map((_, place) => end - (points.length - 1 - place) * step);
  return (place) => [times, column(points, place)];
}

export const many = (records) => `${format.count(records)} record${records === 1 ? "" : "s"}`;

export const answer = (row) => {
  if (row.code) return mark(row.status >= 500 ? "bad" : "warn", `${row.status} ${row.code}`);
  return row.status >= 400 ? mark("warn", `${row.status} hung up`) : mark("good", String(row.status));
};

export function back(words) {
  return h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Overview"), ` / ${words}`);
}

export function missing(what, id) {
  return h("p", { class: "wait" }, `There is no ${what} “${id}”, or it has not been met since the start.`);
}

export function heading(name, more) {
  return h("div", { class: "heading" }, h("h1", {}, name), more);
}
