// The views. Each gives {title, element, subject: what the stream tells besides, update(), close()}.

import { Chart } from "./chart.js";
import { bar, fill, h, mark, text } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

const enc = encodeURIComponent;
export const clientLink = (id) => `#/client/${enc(id)}`;
export const topicLink = (id) => `#/topic/${enc(id)}`;

const sum = (codes) => Object.values(codes).reduce((all, n) => all + n, 0);

/** Codes by number, the most frequent first, in words. */
function codeWords(codes, most = 3) {
  const list = Object.entries(codes).sort((a, b) => b[1] - a[1]);
  if (list.length === 0) return "–";
  const words = list.slice(0, most).map(([code, n]) => `${code} ${format.count(n)}`);
  return words.join(", ") + (list.length > most ? `, ${list.length - most} more` : "");
}

function refusals(row) {
  if (row.rf === 0) return "0";
  return `${format.rate(row.rf)} (${format.percent(row.rf / Math.max(row.rq, row.rf))})`;
}

/** The scarcest of a client's quotas. */
function scarcest(row) {
  const list = Object.entries(row.room ?? {});
  return list.length === 0 ? null : list.reduce((least, one) => (one[1] < least[1] ? one : least));
}

const tone = (left) => (left < 0.1 ? "bad" : left < 0.3 ? "warn" : "good");

/** The columns that clients and topics share. */
function common(feed) {
  const took = (row) => format.took(row.p99, feed.hello?.slowest);
  return {
    ev: { key: "ev", title: "Events/s", value: (row) => row.ev, cell: (row) => format.rate(row.ev), hint: "over the last 5 s" },
    by: { key: "by", title: "Bytes/s", value: (row) => row.by, cell: (row) => format.byteRate(row.by), hint: "over the last 5 s" },
    rf: { key: "rf", title: "Refused/s", value: (row) => row.rf, cell: refusals, hint: "requests, and their part of all requests; over the last 5 s" },
    p99: { key: "p99", title: "p99", value: (row) => format.tookOrder(row.p99), cell: took, hint: "acknowledgement by Kafka, over the last 60 s" },
    events: { key: "events", title: "Events", value: (row) => row.events, cell: (row) => format.count(row.events), hint: "since the start" },
    bytes: { key: "bytes", title: "Bytes", value: (row) => row.bytes, cell: (row) => format.bytes(row.bytes), hint: "since the start" },
    refused: { key: "refused", title: "Refused", value: (row) => sum(row.codes), cell: (row) => format.count(sum(row.codes)), hint: "requests since the start" },
    codes: { key: "codes", title: "Refusals by code", value: (row) => sum(row.codes), cell: (row) => codeWords(row.codes), left: true, wide: true, plain: true, hint: "requests since the start" },
  };
}

function clientTable(feed, keep, options = {}) {
  const c = common(feed);
  return new Table("Clients", [
    { key: "id", title: "Client", value: (row) => row.id, cell: (row) => row.id, left: true },
    c.ev, c.by, c.rf, c.p99,
    {
      key: "room", title: "Quota left", left: true, hint: "of the scarcest quota",
      value: (row) => scarcest(row)?.[1] ?? 2,
      cell: (row) => {
        const least = scarcest(row);
        return least ? bar(least[1], `${format.percent(least[1])} ${least[0]}`, tone(least[1])) : "no limit";
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
    c.events, c.bytes, c.refused, c.codes,
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
    c.rf, c.events, c.bytes, c.refused, c.codes,
  ], { keep, start: "-ev", link: (row) => topicLink(row.id), search: "Find a topic", ...options });
}

const failed = (row) => (row.outcomes.failed ?? 0) + (row.outcomes.unknown ?? 0);

/** Clients within a topic, topics within a client. */
function part(feed, caption, link, keep) {
  const c = common(feed);
  return new Table(caption, [
    { key: "id", title: caption.slice(0, -1), value: (row) => row.id, cell: (row) => row.id, left: true },
    c.ev, c.by, c.rf, c.p99, c.events, c.bytes,
    { key: "errors", title: "Not written", value: failed, cell: (row) => format.count(failed(row)), hint: "events that failed, or whose fate is unknown, since the start" },
    c.refused, c.codes,
  ], { keep, start: "-ev", link: (row) => link(row.id) });
}

const COLOURS = { events: "--c1", p50: "--c2", p99: "--c1", refused: "--c3", failed: "--c4" };
const RATE = [{ name: "events", colour: COLOURS.events }];
const ACK = [{ name: "p99", colour: COLOURS.p99 }, { name: "p50", colour: COLOURS.p50, dash: [4, 3] }];
const REFUSED = [{ name: "refused", colour: COLOURS.refused }, { name: "failed", colour: COLOURS.failed, dash: [4, 3] }];

const column = (points, place) => points.map((point) => point[place] ?? null);

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
export function worries(feed) {
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

/** A curve in steps as columns: times first. */
function unfold(curve, at) {
  const { step, points } = curve;
  const end = Math.floor(at / 1000 / step) * step;
  const times = points.map((_, place) => end - (points.length - 1 - place) * step);
  return (place) => [times, column(points, place)];
}

function back(words) {
  return h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/" }, "Overview"), ` / ${words}`);
}

function missing(what, id) {
  return h("p", { class: "wait" }, `There is no ${what} “${id}”, or it has not been met since the start.`);
}

function heading(name, more) {
  return h("div", { class: "heading" }, h("h1", {}, name), more);
}

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
      const curve = unfold(page.curve, feed.at);
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
        h("span", { class: "soft" }, `${size(one.name, one.burst / one.window)}/s, at most ${size(one.name, one.burst)} at once`)));
      fill(quotas, h("h2", {}, "Quotas"), quota.length > 0 ? h("ul", { class: "quotas" }, bars) : h("p", { class: "empty" }, "No quota holds for it."));
      const words = JSON.stringify([page.problems, row?.codes]);
      if (words === shown) return;
      shown = words;
      open = new Set([...problems.querySelectorAll("details[open]")].map((one) => one.dataset.code));
      const codes = row?.codes ?? {};
      const details = page.problems.map((problem) => h("details", { "data-code": problem.code, open: open.has(problem.code) },
        h("summary", {}, mark("warn", problem.code), h("span", { class: "soft" }, ` ${format.count(codes[problem.code] ?? 0)} since the start, the latest at ${format.clock(problem.at)}`)),
        h("pre", {}, pretty(problem.body))));
      fill(problems, h("h2", {}, "Refusals by code, with the latest answer"), details.length > 0 ? details : h("p", { class: "empty" }, "None since the start."));
    },
  };
}

const size = (name, n) => (name === "bytes" ? format.bytes(n) : format.count(n));

const answer = (row) => {
  if (row.code) return mark(row.status >= 500 ? "bad" : "warn", `${row.status} ${row.code}`);
  return row.status >= 400 ? mark("warn", `${row.status} hung up`) : mark("good", String(row.status));
};

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

export function topic(feed, keep, id) {
  const facts = h("p", { class: "soft" });
  const charts = [
    new Chart("Events a second", RATE, format.rate, { most: 10 }),
    new Chart("Acknowledged within", ACK, (value) => format.took(value), { most: 0.01 }),
    new Chart("Refused or failed a second", REFUSED, format.rate, { most: 1 }),
  ];
  const clients = part(feed, "Clients", clientLink, keep("c"));
  const partitions = h("section", { class: "panel" });
  const batches = h("section", { class: "panel" });
  const errors = new Table("Broker errors", [
    { key: "error", title: "Error", value: (row) => row.error, cell: (row) => row.error, left: true },
    { key: "count", title: "Events", value: (row) => row.count, cell: (row) => format.count(row.count) },
    { key: "last", title: "Last", value: (row) => row.last, cell: (row) => format.ago(row.last, feed.at / 1000) },
  ], { id: (row) => row.error, start: "-count", empty: "None since the start." });
  const policy = h("section", { class: "panel" });
  const body = h("div", {}, facts, h("div", { class: "charts" }, charts.map((chart) => chart.element)), clients.element, partitions, batches, errors.element, policy);
  const gone = h("div", { hidden: true }, missing("topic", id));
  const tap = h("a", { class: "button", href: `#/tap?topic=${enc(id)}` }, "Watch its requests");
  const element = h("div", {}, back("topic"), heading(id, tap), gone, body);
  return {
    title: id,
    element,
    subject: `topic=${enc(id)}`,
    update() {
      const page = feed.page;
      const row = feed.topics.get(id);
      if (page?.topic !== id) return;
      gone.hidden = page.known;
      body.hidden = !page.known;
      const fates = Object.entries(row?.outcomes ?? {}).map(([name, n]) => `${format.count(n)} ${name}`);
      text(facts, [`${format.count(row?.events ?? 0)} events`, ...fates, `${format.bytes(row?.held ?? 0)} wait for Kafka`].join(" · "));
      const curve = unfold(page.curve, feed.at);
      const now = feed.at / 1000;
      charts[0].draw(curve(0), now);
      charts[1].draw([...curve(5), curve(4)[1]], now);
      charts[2].draw([...curve(2), curve(3)[1]], now);
      clients.update(page.clients);
      errors.update(page.errors);
      heat(partitions, page.partitions);
      const lines = page.batches.filter(({ records }) => records.avg > 0).map(({ bytes, records }) =>
        h("li", {}, `mean ${format.bytes(bytes.avg)} in ${many(records.avg)}, p99 ${format.bytes(bytes.p99)} in ${many(records.p99)}`));
      fill(batches, h("h2", {}, "Batches"), h("p", { class: "soft" }, "Those of the last second, a line for each producer."),
        lines.length > 0 ? h("ul", {}, lines) : h("p", { class: "empty" }, "None in the last second."));
      if (policy.childElementCount === 0 && page.policy) {
        fill(policy, h("h2", {}, "Policy"), h("pre", {}, JSON.stringify(page.policy, null, 2)));
      }
      policy.hidden = !page.policy;
    },
  };
}

const many = (records) => `${format.count(records)} record${records === 1 ? "" : "s"}`;

/** A cell for each partition: the darker, the nearer to the busiest. The rate stands in it. */
function heat(box, partitions) {
  const most = Math.max(1, ...partitions.map(({ rate }) => rate));
  const grid = h("ol", { class: "heat" }, partitions.map(({ id, rate, leader }) => {
    const cell = h("li", { title: `partition ${id}, leader ${leader < 0 ? "none" : leader}` }, h("span", {}, `${id}`), h("b", {}, `${format.rate(rate)}/s`));
    cell.style.setProperty("--heat", `${Math.round((rate / most) * 70)}%`);
    if (leader < 0) cell.append(mark("bad", "no leader"));
    return cell;
  }));
  const sum = partitions.reduce((all, { rate }) => all + rate, 0);
  const hottest = partitions.reduce((top, one) => (one.rate > (top?.rate ?? 0) ? one : top), null);
  const words = hottest
    ? `Partition ${hottest.id} is the busiest: ${format.percent(hottest.rate / sum)} of the records, where an even spread gives ${format.percent(1 / partitions.length)}.`
    : "No records in the last 5 s.";
  fill(box, h("h2", {}, "Records a second by partition"), h("p", { class: "soft" }, words), partitions.length > 0 ? grid : h("p", { class: "empty" }, "Nothing was sent to it yet."));
}

export function kafka(feed, keep) {
  const facts = h("div", { class: "verdict" });
  const charts = [
    new Chart("Acknowledged within", ACK, (value) => format.took(value), { most: 0.01 }),
    new Chart("Queue and budget in use", [{ name: "queue", colour: "--c1" }, { name: "budget", colour: "--c2", dash: [4, 3] }], format.percent, { top: 1 }),
  ];
  const time = (value) => (value === 0 ? "–" : format.took(value));
  const pair = (name, title, hint) => ({
    key: name, title, hint, value: (row) => row[name].p99, cell: (row) => `${time(row[name].avg)} / ${time(row[name].p99)}`,
  });
  const brokers = new Table("Brokers", [
    { key: "name", title: "Broker", value: (row) => row.name, cell: (row) => row.name, left: true },
    { key: "producer", title: "Producer", value: (row) => row.producer, cell: (row) => row.producer, left: true },
    { key: "up", title: "State", value: (row) => Number(row.up), cell: (row) => (row.up ? mark("good", "up") : mark("none", "not connected")), left: true },
    pair("rtt", "Round trip", "mean and 99th percentile of the last interval"),
    pair("queue", "Wait for a batch", "linger included: mean and 99th percentile"),
    pair("send", "Wait for the socket", "mean and 99th percentile"),
    pair("throttle", "Held back", "by the broker's quotas: mean and 99th percentile"),
    { key: "errors", title: "Errors", value: (row) => row.errors, cell: (row) => format.count(row.errors) },
    { key: "retries", title: "Retries", value: (row) => row.retries, cell: (row) => format.count(row.retries) },
  ], { keep: keep("b"), id: (row) => `${row.name} ${row.producer}`, start: "-rtt", empty: "No broker is known yet." });
  const producers = new Table("Producers", [
    { key: "name", title: "Producer", value: (row) => row.name, cell: (row) => row.name, left: true },
    { key: "records", title: "Records waiting", value: (row) => row.queue_records, cell: (row) => format.count(row.queue_records) },
    {
      key: "queue", title: "Queue", left: true, value: (row) => row.queue_bytes / row.queue_limit,
      cell: (row) => bar(row.queue_bytes / row.queue_limit, `${format.bytes(row.queue_bytes)} of ${format.bytes(row.queue_limit)}`, tone(1 - row.queue_bytes / row.queue_limit)),
    },
    { key: "batch", title: "Batch", value: (row) => row.batch.avg, cell: (row) => (row.batch.avg === 0 ? "–" : `${format.bytes(row.batch.avg)} / ${format.bytes(row.batch.p99)}`), hint: "of the last second: mean and 99th percentile" },
  ], { keep: keep("p"), id: (row) => row.name, start: "name", empty: "There is none yet: the first event makes it." });
  const complaints = h("section", { class: "panel" });
  const element = h("div", {}, h("h1", {}, "Kafka"), facts, h("div", { class: "charts two" }, charts.map((chart) => chart.element)), brokers.element, producers.element, complaints);
  let said = "";
  return {
    title: "Kafka",
    element,
    subject: "",
    update() {
      const { head, points } = feed;
      const words = head.kafka_up ? `${feed.hello.cluster} answers: ${head.brokers.up} of ${head.brokers.known} known brokers are connected.` : `${feed.hello.cluster} does not answer.`;
      if (said !== words) {
        said = words;
        fill(facts, mark(head.kafka_up ? "good" : "bad", words), h("span", { class: "soft" }, ` bootstrap ${feed.hello.bootstrap.join(", ")}`));
        facts.dataset.tone = head.kafka_up ? "good" : "bad";
      }
      const times = column(points, 0);
      charts[0].draw([times, column(points, 6), column(points, 5)], feed.at / 1000);
      charts[1].draw([times, column(points, 8), column(points, 7)], feed.at / 1000);
      brokers.update(feed.kafka.flatMap((producer) => producer.brokers.map((broker) => ({ ...broker, producer: producer.name }))));
      producers.update(feed.kafka);
      const list = head.complaints.map((words) => h("li", {}, words));
      fill(complaints, h("h2", {}, "What Kafka complained of in the last minute"), list.length > 0 ? h("ul", {}, list) : h("p", { class: "empty" }, "Nothing."));
    },
  };
}

export function config(feed) {
  const state = h("div");
  const whole = h("pre", { class: "config", tabindex: "0" }, "");
  const outcome = h("p", { role: "status" });
  const reload = h("button", { type: "button", onclick: async () => {
    text(outcome, "…");
    const answer = await fetch("../admin/reload", { method: "POST" });
    text(outcome, answer.ok ? "Reloaded." : `Not reloaded: ${answer.status}.`);
    load();
  } }, "Reload now");
  let shown = "";
  async function load() {
    const answer = await fetch("../admin/config");
    if (!answer.ok) return;
    const { config, reload: status } = await answer.json();
    const at = (time) => (time ? format.day(Date.parse(time)) : null);
    const list = (title, items) => items.length > 0 && [h("h3", {}, title), h("ul", {}, items.map((item) => h("li", {}, item)))];
    const faults = status.faults.map((fault) => [fault.origin, fault.path, fault.message].filter(Boolean).join(": "));
    fill(state,
      h("p", {}, status.last_reload_ok ? mark("good", "The newest config is in use.") : mark("bad", "The last reload failed: the config before is in use.")),
      h("p", { class: "soft" }, [
        `number ${status.generation} since the start`,
        status.changed_at ? `in use since ${at(status.changed_at)}` : `in use since the start, ${format.day(feed.at - feed.head.uptime * 1000)}`,
        status.last_reload_at ? `last reload tried ${at(status.last_reload_at)}` : "never reloaded",
      ].join(" · ")),
      list("Why it failed", faults), list("What the last change was", status.changed), list("What waits for a restart", status.needs_restart));
    text(whole, JSON.stringify(config, null, 2));
  }
  return {
    title: "Config",
    element: h("div", {}, heading("Config", reload), outcome, h("section", { class: "panel" }, state), h("section", { class: "panel" }, h("h2", {}, "What is loaded, secrets masked"), whole)),
    subject: "",
    update() {
      const now = JSON.stringify(feed.head.reload);
      if (now === shown) return;
      shown = now;
      load();
    },
  };
}

const LINES = 200;

export function tap(feed, keep, _, query, go) {
  const field = (name, label, hint) => {
    const input = h("input", { name, placeholder: hint, list: `${name}s` });
    input.value = query.get(name) ?? "";
    return h("label", {}, label, input);
  };
  const choices = (id, names) => h("datalist", { id }, names.map((name) => h("option", { value: name })));
  const codes = new Set(["accepted", "refused"]);
  for (const row of feed.clients.values()) Object.keys(row.codes).forEach((code) => codes.add(code));
  const pausing = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pausing.setAttribute("aria-pressed", String(paused));
    text(pausing, paused ? "Go on" : "Pause");
  } }, "Pause");
  const form = h("form", { class: "filters", onsubmit: (event) => {
    event.preventDefault();
    const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    go(`#/tap${wanted.size > 0 ? `?${wanted}` : ""}`);
  } },
    field("client", "Client", "any"), field("topic", "Topic", "any"), field("code", "Code", "any, accepted, refused"),
    h("button", { type: "submit" }, "Watch"), pausing,
    choices("clients", [...feed.clients.keys()]), choices("topics", [...feed.topics.keys()]), choices("codes", [...codes]));
  const note = h("p", { class: "soft", role: "status" }, "Connecting.");
  const none = h("p", { class: "empty" }, "Waiting for a request.");
  const body = h("tbody");
  const heads = ["Time", "Client", "Topic", "Answer", "Events", "Bytes", "Took", "Body", "Key", "Header names"];
  const table = h("table", { hidden: true }, h("caption", {}, "Requests as they are answered"), h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col", class: ["Events", "Bytes", "Took", "Key"].includes(name) ? "" : "left" }, name)))), body);
  const element = h("div", {}, h("h1", {}, "Tap"), form, note, h("section", { class: "panel" }, none, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Requests as they are answered" }, table)));
  let paused = false;
  let leftOut = 0;
  let payload = false;
  const say = () => text(note, [
    payload ? "The first 2 KiB of bodies are shown (admin.tap_payload)." : "Bodies are not shown.",
    "At most 20 requests a second.",
    leftOut > 0 && `${format.count(leftOut)} were left out.`,
  ].filter(Boolean).join(" "));
  const source = new EventSource(`../admin/tap?${query}`);
  source.addEventListener("hello", (event) => {
    payload = JSON.parse(event.data).payload;
    say();
  });
  source.addEventListener("request", (event) => {
    const seen = JSON.parse(event.data);
    leftOut += seen.left_out;
    say();
    if (paused) return;
    none.hidden = true;
    table.hidden = false;
    const type = [seen.content_type ?? "–", seen.content_encoding].filter(Boolean).join(", ");
    const cells = [
      [format.clock(seen.at), "left"], [h("a", { href: clientLink(seen.client) }, seen.client), "left"], [h("a", { href: topicLink(seen.topic) }, seen.topic), "left"],
      [answer(seen), "left"], [format.count(seen.events)], [format.bytes(seen.bytes)], [format.took(seen.took)],
      [seen.payload == null ? type : h("details", {}, h("summary", {}, type), h("pre", {}, seen.payload)), "left"],
      [seen.key_bytes == null ? "–" : format.bytes(seen.key_bytes)], [h("span", { class: "names" }, seen.headers.join(", ")), "left"],
    ];
    body.prepend(h("tr", {}, cells.map(([cell, side]) => h("td", { class: side }, cell))));
    while (body.childElementCount > LINES) body.lastChild.remove();
  });
  source.onerror = () => text(note, source.readyState === EventSource.CLOSED ? "The tap was refused: too many viewers, or no right to look." : "Reconnecting.");
  return { title: "Tap", element, subject: "", update() {}, close: () => source.close() };
}
