// The page of a topic.

import { Chart } from "./chart.js";
import { ACK, RATE, REFUSED, back, clientLink, enc, heading, many, missing, part, unfold } from "./columns.js";
import { fill, h, text } from "./dom.js";
import * as format from "./format.js";
import { Heat } from "./heat.js";
import { Table } from "./table.js";

export function topic(feed, keep, id) {
  const facts = h("p", { class: "soft" });
  const charts = [
    new Chart("Events a second", RATE, format.rate, { most: 10 }),
    new Chart("Acknowledged within", ACK, (value) => format.took(value), { most: 0.01 }),
    new Chart("Refused or failed a second", REFUSED, format.rate, { most: 1 }),
  ];
  const clients = part(feed, "Clients", clientLink, keep("c"));
  const partitions = new Heat();
  const batches = h("section", { class: "panel" });
  const errors = new Table("Broker errors", [
    { key: "error", title: "Error", value: (row) => row.error, cell: (row) => row.error, left: true },
    { key: "count", title: "Events", value: (row) => row.count, cell: (row) => format.count(row.count) },
    { key: "last", title: "Last", value: (row) => row.last, cell: (row) => format.ago(row.last, feed.at / 1000) },
  ], { id: (row) => row.error, start: "-count", empty: "None since the start." });
  const policy = h("section", { class: "panel" });
  const body = h("div", {}, facts, h("div", { class: "charts" }, charts.map((chart) => chart.element)), clients.element, partitions.element, h("div", { class: "pair" }, batches, errors.element), policy);
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
      const curve = unfold(page.curve);
      const now = feed.at / 1000;
      charts[0].draw(curve(0), now);
      charts[1].draw([...curve(5), curve(4)[1]], now);
      charts[2].draw([...curve(2), curve(3)[1]], now);
      clients.update(page.clients);
      errors.update(page.errors);
      partitions.draw(page.heat, page.partitions, page.curve.at / 1000, now);
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
