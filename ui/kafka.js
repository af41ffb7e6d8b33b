// Kafka as the producers see it.

import { Chart } from "./chart.js";
import { ACK, column, tone } from "./columns.js";
import { bar, fill, h, mark } from "./dom.js";
import * as format from "./format.js";
import { Table } from "./table.js";

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
