// Requests as they are answered.

import { answer, clientLink, topicLink } from "./columns.js";
import { h, text } from "./dom.js";
import * as format from "./format.js";

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
    field("client", "Client", "any"), field("topic", "Topic", "any"), field("code", "Code", "any"),
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
