// The page of a client.

import { Chart } from "./chart.js";
import { ACK, RATE, REFUSED, answer, back, enc, heading, missing, part, ranked, shares, sum, tone, topicLink, unfold } from "./columns.js";
import { bar, fill, h, mark, text } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

export function client(feed, keep, id) {
  const facts = h("p", { class: "soft" });
  const charts = [
    new Chart("Events a second", RATE, format.rate, { most: 10 }),
    new Chart("Quota in use", [{ name: "in use", colour: "--c1" }], format.percent, { top: 1 }),
    new Chart("Acknowledged within", ACK, (value) => format.took(value), { most: 0.01 }),
    new Chart("Refused or failed a second", REFUSED, format.rate, { most: 1 }),
  ];
  const quotas = h("section", { class: "panel" });
  const topics = part(feed, "Topics", topicLink, keep("t"));
  const problems = h("section", { class: "panel" });
  const keys = new Table("Keys", [
    { key: "label", title: "Label", value: (row) => row.label, cell: (row) => row.label, left: true },
    { key: "used", title: "Last used", value: (row) => row.used ?? 0, cell: (row) => (row.used ? format.ago(row.used, feed.at / 1000) : "not since the start") },
    { key: "expires", title: "Expires", value: (row) => row.expires ?? "~", cell: (row) => row.expires?.replace("T", " ").replace(/:\d\dZ$/, " UTC") ?? "never" },
  ], { id: (row) => row.label, start: "-used", empty: "It has no keys." });
  const requests = new Table("Last 50 requests", [
    { key: "at", title: "Time", value: (row) => row.at, cell: (row) => format.clock(row.at), left: true, plain: true },
    { key: "topic", title: "Topic", value: (row) => row.topic, cell: (row) => row.topic, left: true, plain: true },
    { key: "status", title: "Answer", value: (row) => row.status, cell: answer, left: true, plain: true },
    { key: "events", title: "Events", value: (row) => row.events, cell: (row) => format.count(row.events), plain: true },
    { key: "bytes", title: "Bytes", value: (row) => row.bytes, cell: (row) => format.bytes(row.bytes), plain: true },
    { key: "took", title: "Took", value: (row) => row.took, cell: (row) => format.took(row.took), plain: true },
    { key: "id", title: "Request", value: (row) => row.id, cell: (row) => row.id, left: true, plain: true },
  ], { id: (row) => row.id, start: "-at", empty: "None since the start." });
  requests.element.classList.add("long");
  const body = h("div", {}, facts, h("div", { class: "charts two" }, charts.map((chart) => chart.element)), quotas, topics.element, problems, keys.element, requests.element);
  const gone = h("div", { hidden: true }, missing("client", id));
  const tap = h("a", { class: "button", href: `#/tap?client=${enc(id)}` }, "Watch its requests");
  const element = h("div", {}, back("client"), heading(id, tap), gone, body);
  let shown = null;
  let open = new Set();
  return {
    title: id,
    element,
    subject: `client=${enc(id)}`,
    update() {
      const page = feed.page;
      const row = feed.clients.get(id);
      if (page?.client !== id) return;
      gone.hidden = page.known;
      body.hidden = !page.known;
      if (row) {
        const parts = [
          `last seen ${format.ago(row.seen, feed.at / 1000)}`,
          `${format.count(row.events)} events`,
          format.bytes(row.bytes),
          `${format.count(sum(row.codes))} requests refused`,
          `${format.bytes(row.held)} in flight${row.share ? `, ${format.percent(row.held / row.share)} of its share` : ""}`,
          page.allowed && `may write to ${page.allowed.join(", ") || "nothing"}`,
        ];
        text(facts, parts.filter(Boolean).join(" · "));
      }
      const curve = unfold(page.curve);
      const now = feed.at / 1000;
      charts[0].draw(curve(0), now);
      charts[1].draw(curve(6), now);
      charts[2].draw([...curve(5), curve(4)[1]], now);
      charts[3].draw([...curve(2), curve(3)[1]], now);
      topics.update(page.topics);
      keys.update(page.keys);
      requests.update(page.requests);
      const quota = page.quotas ?? [];
      const bars = quota.map((one) => h("li", {}, h("b", {}, one.name), bar(one.left / one.burst, `${size(one.name, one.left)} of ${size(one.name, one.burst)} left`, tone(one.left / one.burst)),
        h("span", { class: "soft" }, `${pace(one)}, at most ${size(one.name, one.burst)} at once`)));
      fill(quotas, h("h2", {}, "Quotas"), quota.length > 0 ? h("ul", { class: "quotas" }, bars) : h("p", { class: "empty" }, "No quota holds for it."));
      const words = JSON.stringify([page.problems, row?.codes, row?.recent]);
      if (words === shown) return;
      shown = words;
      open = new Set([...problems.querySelectorAll("details[open]")].map((one) => one.dataset.code));
      const minute = new Map(shares(row?.recent));
      const bodies = new Map(page.problems.map((problem) => [problem.code, problem]));
      const codes = ranked(row?.codes).sort(([a], [b]) => (minute.get(b) ?? 0) - (minute.get(a) ?? 0));
      const details = codes.map(([code, n]) => {
        const problem = bodies.get(code);
        const part = minute.get(code) ?? 0;
        const said = `${format.count(n)} since the start${problem ? `, the latest at ${format.clock(problem.at)}` : ""}`;
        return h("details", { "data-code": code, open: open.has(code) },
          h("summary", { class: "refusal" }, mark("warn", code), h("span", { class: "soft" }, said), bar(part, part > 0 ? `${format.percent(part)} of the refusals of the last minute` : "none in the last minute", "warn")),
          h("pre", {}, problem ? pretty(problem.body) : "Its answer was not kept."));
      });
      fill(problems, h("h2", {}, "Refusals by code, with the latest answer"), details.length > 0 ? details : h("p", { class: "empty" }, "None since the start."));
    },
  };
}

/** How much it may send on and on: what is scarce, by the minute. */
function pace({ name, burst, window }) {
  const second = burst / window;
  return second < 1 ? `${size(name, second * 60)}/min` : `${size(name, second)}/s`;
}

const size = (name, n) => (name === "bytes" ? format.bytes(n) : format.count(n));

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
