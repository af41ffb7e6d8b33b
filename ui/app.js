// The frame of the page: header, address, login.

import { Chart } from "./chart.js";
import { client } from "./client.js";
import { config } from "./config.js";
import { fill, h, mark, text } from "./dom.js";
import { Feed } from "./feed.js";
import { span } from "./format.js";
import { kafka } from "./kafka.js";
import { overview } from "./overview.js";
import { tap } from "./tap.js";
import { topic } from "./topic.js";

const feed = new Feed();
const main = document.getElementById("main");
let view = null;

/** What stands behind the hash: {path: [...], query}. */
function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

/** Sort and search of a table in the address: `cs` and `cq` for the prefix `c`. */
function keep(prefix) {
  const names = { sort: `${prefix}s`, query: `${prefix}q` };
  const read = (name) => address().query.get(names[name]) ?? "";
  return {
    get sort() { return read("sort"); },
    get query() { return read("query"); },
    set(name, value) {
      const { query } = address();
      if (value) query.set(names[name], value);
      else query.delete(names[name]);
      const path = location.hash.split("?")[0] || "#/";
      history.replaceState(null, "", query.size > 0 ? `${path}?${query}` : path);
    },
  };
}

const ROUTES = { client, topic, kafka, config, tap };

function go(hash) {
  if (location.hash === hash) show();
  else location.hash = hash;
}

function show() {
  if (!feed.hello) return;
  view?.close?.();
  Chart.clear();
  const { path, query } = address();
  const make = ROUTES[path[0]] ?? overview;
  view = make(feed, keep, path[1], query, go);
  fill(main, view.element);
  feed.follow(view.subject);
  for (const link of nav.querySelectorAll("a")) {
    const here = link.hash.replace(/^#\/?/, "") === (ROUTES[path[0]] ? path[0] : "");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view.title} · klamm`;
  scrollTo(0, 0);
  view.update();
}

// Light, dark, or what the system says.
const THEMES = ["auto", "light", "dark"];
const theme = h("button", { type: "button", class: "theme", onclick: () => {
  const next = THEMES[(THEMES.indexOf(localStorage.getItem("theme") ?? "auto") + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  paint();
} });
function paint() {
  const name = localStorage.getItem("theme") ?? "auto";
  document.documentElement.dataset.theme = name;
  text(theme, `Theme: ${name}`);
  Chart.repaint();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

const nav = h("nav", { "aria-label": "Views" }, [["#/", "Overview"], ["#/kafka", "Kafka"], ["#/tap", "Tap"], ["#/config", "Config"]].map(([href, name]) => h("a", { href }, name)));
const state = h("span", { class: "state", role: "status" });
const facts = h("p", { class: "facts" });
const out = h("button", { type: "button", hidden: true, onclick: async () => {
  await fetch("../admin/logout", { method: "POST" });
  location.reload();
} }, "Log out");
fill(document.getElementById("top"), h("a", { class: "logo", href: "#/" }, "klamm"), nav, h("div", { class: "right" }, state, theme, out), facts);

function sayState() {
  const [tone, words] = { live: ["good", "live"], hidden: ["none", "paused"], connecting: ["none", "connecting"], waiting: ["warn", "reconnecting"] }[feed.state];
  fill(state, mark(tone, words));
}

function header() {
  const { version, instance, cluster, bootstrap } = feed.hello;
  text(facts, [instance, `klamm ${version}`, `up ${span(feed.head.uptime)}`, `Kafka ${cluster} (${bootstrap.join(", ")})`, "this replica only: all replicas in Grafana"].filter(Boolean).join(" · "));
}

feed.addEventListener("state", sayState);
feed.addEventListener("change", () => {
  header();
  if (!view) show();
  else view.update();
});
feed.addEventListener("page", () => view?.update());
feed.addEventListener("refused", ({ detail }) => {
  view?.close?.();
  view = null;
  if (detail === 401) login();
  else fill(main, h("p", { class: "wait" }, detail === 403 ? "This listener is not on loopback: configure admin.keys, and log in." : "This address is not known to klamm: add its name to admin.hosts."));
});

function login() {
  feed.hello = null;
  const wrong = h("p", { class: "wrong", role: "alert" });
  const key = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true });
  const form = h("form", { class: "login", onsubmit: async (event) => {
    event.preventDefault();
    const answer = await fetch("../admin/login", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ key: key.value }) });
    if (answer.ok) return begin();
    const wait = answer.headers.get("retry-after");
    text(wrong, answer.status === 429 ? `Too many wrong keys: wait ${wait} s.` : "This is no admin key.");
    key.select();
  } }, h("h1", {}, "Log in"), h("label", {}, "Admin key", key), h("button", { type: "submit" }, "Log in"), wrong);
  fill(main, form);
  key.focus();
}

async function begin() {
  fill(main, h("p", { class: "wait" }, "Waiting for the first reading."));
  try {
    const answer = await fetch("../admin/session");
    if (answer.status === 401) return login();
    if (answer.ok) out.hidden = !(await answer.json()).session;
  } catch {
    // The stream finds out, and tries again.
  }
  feed.open();
}

addEventListener("hashchange", show);
paint();
sayState();
begin();
