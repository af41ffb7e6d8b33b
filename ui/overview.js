// The first screen: is it fine, who sends what where.

import { Chart } from "./chart.js";
import { ACK, RATE, REFUSED, clientLink, column, common, failed, many, tone, topicLink } from "./columns.js";
import { bar, fill, h, mark, text } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

/** The scarcest of a client's quotas. */
function scarcest(row) {
  const list = Object.entries(row.room ?? {});
  return list.length === 0 ? null : list.reduce((least, one) => (one[1] < least[1] ? one : least));
}

function clientTable(feed, keep, options = {}) {
  const c = common(feed);
  return new Table("Clients", [
    { key: "id", title: "Client", value: (row) => row.id, cell: (row) => row.id, left: true },
    c.ev, c.by, c.rf, c.codes, c.p99,
    {
      key: "room", title: "Quota left", left: true, hint: "of the scarcest quota",
      value: (row) => scarcest(row)?.[1] ?? 2,
      cell: (row) => {
        const least = scarcest(row);
        return least ? bar(least[1], least[1] === 1 ? "100 %" : `${format.percent(least[1])} ${least[0]}`, tone(least[1])) : "no limit";
      },
    },
    {
      key: "held", title: "In flight", hint: "bytes that wait for Kafka, and their part of the client's fair share",
      value: (row) => row.held,
      cell: (row) => {
        const part = row.held / (row.share || Infinity);
        return part < 0.01 ? format.bytes(row.held) : `${format.bytes(row.held)} (${format.percent(part)})`;
      },
    },
    { key: "seen", title: "Last seen", value: (row) => row.seen ?? 0, cell: (row) => format.ago(row.seen, feed.at / 1000) },
    c.events, c.bytes, c.refused,
  ], { keep, start: "-ev", link: (row) => clientLink(row.id), search: "Find a client", ...options });
}

function topicTable(feed, keep, options = {}) {
  const c = common(feed);
  return new Table("Topics", [
    { key: "id", title: "Topic", value: (row) => row.id, cell: (row) => row.id, left: true },
    c.ev, c.by, c.p99,
    {
      key: "spread", title: "Busiest partition", hint: "its rate over the mean of all partitions, over the last 5 s",
      value: (row) => row.spread ?? 0,
      cell: (row) => (row.spread == null ? "–" : `${row.spread.toFixed(1)} × mean`),
    },
    { key: "partitions", title: "Partitions", value: (row) => row.partitions ?? 0, cell: (row) => (row.partitions == null ? "–" : format.count(row.partitions)) },
    { key: "errors", title: "Not written", value: failed, cell: (row) => format.count(failed(row)), hint: "events that failed, or whose fate is unknown, since the start" },
    c.rf, c.codes, c.events, c.bytes, c.refused,
  ], { keep, start: "-ev", link: (row) => topicLink(row.id), search: "Find a topic", ...options });
}

function tile(name) {
  const value = h("b");
  const more = h("span", { class: "soft" });
  const element = h("div", { class: "tile" }, h("span", { class: "name" }, name), value, more);
  const set = (words, rest = "", kind = "") => {
    text(value, words);
    text(more, rest);
    if (element.dataset.tone !== kind) element.dataset.tone = kind;
  };
  return { element, set };
}

/** What is wrong, the worst first; empty where all is well. */
function worries(feed) {
  const { head } = feed;
  const list = [];
  const say = (kind, words, link) => list.push({ kind, words, link });
  const total = head.total;
  if (!head.kafka_up) say("bad", `Kafka does not answer${head.outage == null ? "" : ` since ${format.span(head.outage)}`}`, "#/kafka");
  if (total.fl > 0) say("bad", `${format.rate(total.fl)} requests/s are not written, and it is not the client's fault`, "#/tap?code=refused");
  if (head.spool && !head.spool.room) say("bad", "the spool is full");
  if (head.phase !== "serving") say("warn", head.phase);
  if (head.spool?.active) say("warn", `the spool takes events, ${format.count(head.spool.events)} wait in it`);
  else if (head.spool?.events > head.spool?.parked) say("warn", `${format.count(head.spool.events)} events wait in the spool`);
  if (head.spool?.parked > 0) say("warn", `${format.count(head.spool.parked)} events are parked in the spool`);
  const busy = (part) => part.used / Math.max(part.of, 1);
  if (busy(head.queue) > 0.8) say("warn", `the producer's queue is ${format.percent(busy(head.queue))} full`, "#/kafka");
  if (busy(head.budget) > 0.8) say("warn", `the budget is ${format.percent(busy(head.budget))} in use`);
  if (total.rq > 0 && total.rf / total.rq > 0.05) say("warn", `${format.percent(total.rf / total.rq)} of the requests are refused`, "#/?cs=-rf");
  if (!head.reload.ok) say("warn", "the last reload failed, the config before is in use", "#/config");
  if (head.unsafe) say("warn", "unsafe: acknowledged events may be lost or doubled", "#/config");
  if (busy(head.history) > 0.98) say("warn", "the memory for history is full: some clients have no curves and no last requests (admin.history)");
  const throttled = feed.kafka.some((producer) => producer.brokers.some((broker) => broker.throttle.avg > 0));
  if (throttled) say("warn", "a broker holds klamm back by its quotas", "#/kafka");
  return list;
}

/** The line that is to be pasted while nothing was sent. */
function curl(feed) {
  const { ingest, example, topic } = feed.hello;
  const name = example?.topic ?? topic ?? "TOPIC";
  const at = ingest.startsWith("unix:") ? `--unix-socket ${ingest.slice(5)} http://klamm` : `http://${ingest}`;
  return `curl -i ${at}/v1/topics/${name}/events -H 'Authorization: Bearer ${example?.key ?? "KEY"}' \\\n  -H 'Content-Type: application/json' -d '{"hello":"world"}'`;
}

export function overview(feed, keep) {
  const verdict = h("div", { class: "verdict", role: "status" });
  const tiles = ["Events", "Refused", "Ack p99", "Budget", "Queue", "Spool", "Brokers"].map(tile);
  const [events, refused, ack, budget, queue, spool, brokers] = tiles;
  const charts = [
    new Chart("Events a second", RATE, format.rate, { most: 10 }),
    new Chart("Acknowledged within", ACK, (value) => format.took(value), { most: 0.01 }),
    new Chart("Refused or failed a second", REFUSED, format.rate, { most: 1 }),
  ];
  const clients = clientTable(feed, keep("c"));
  const topics = topicTable(feed, keep("t"));
  const first = h("section", { class: "panel first" });
  const element = h("div", {}, verdict, first,
    h("div", { class: "tiles" }, tiles.map((one) => one.element)),
    h("div", { class: "charts" }, charts.map((chart) => chart.element)),
    clients.element, topics.element);
  let said = null;
  return {
    title: "Overview",
    element,
    subject: "",
    update() {
      const { head, points, at } = feed;
      const total = head.total;
      const list = worries(feed);
      const words = JSON.stringify(list);
      if (words !== said) {
        said = words;
        const rows = list.map(({ kind, words, link }) => h("li", {}, link ? h("a", { href: link }, mark(kind, words)) : mark(kind, words)));
        fill(verdict, list.length === 0 ? mark("good", "All is well.") : h("ul", {}, rows));
        verdict.dataset.tone = list.some(({ kind }) => kind === "bad") ? "bad" : list.length > 0 ? "warn" : "good";
      }
      const empty = total.requests === 0;
      first.hidden = !empty;
      if (empty && first.childElementCount === 0) {
        const line = curl(feed);
        const copy = h("button", { type: "button", onclick: () => navigator.clipboard?.writeText(line) }, "Copy");
        fill(first, h("h2", {}, "Nothing was sent yet"), h("p", {}, "Send the first event, and watch it arrive:"), h("pre", {}, line), copy);
      }
      events.set(`${format.rate(total.ev)}/s`, `${format.byteRate(total.by)} · ${format.count(total.events)} in all`);
      refused.set(`${format.rate(total.rf)}/s`, total.rq > 0 ? `${format.percent(total.rf / total.rq)} of ${format.rate(total.rq)} requests/s` : "no requests", total.rf > 0 ? "warn" : "");
      ack.set(format.took(total.p99, feed.hello.slowest), `p50 ${format.took(total.p50, feed.hello.slowest)}, last minute`);
      const used = ({ used, of }) => [format.percent(used / Math.max(of, 1)), `${format.bytes(used)} of ${format.bytes(of)}`];
      budget.set(...used(head.budget), head.budget.used / head.budget.of > 0.8 ? "warn" : "");
      queue.set(head.queue.of === 0 ? "–" : used(head.queue)[0], many(head.queue_records), head.queue.used / head.queue.of > 0.8 ? "warn" : "");
      if (head.spool) spool.set(format.count(head.spool.events), `events · ${format.bytes(head.spool.disk.used)} on disk · oldest ${format.span(head.spool.oldest)}`, head.spool.events > 0 ? "warn" : "");
      else spool.set("off", "no spool.dir");
      brokers.set(head.kafka_up ? `${head.brokers.up} of ${head.brokers.known}` : "none", head.kafka_up ? "connected" : "Kafka does not answer", head.kafka_up ? "" : "bad");
      const times = column(points, 0);
      const now = at / 1000;
      charts[0].draw([times, column(points, 1)], now);
      charts[1].draw([times, column(points, 6), column(points, 5)], now);
      charts[2].draw([times, column(points, 3), column(points, 4)], now);
      clients.update([...feed.clients.values()]);
      topics.update([...feed.topics.values()]);
    },
  };
}
