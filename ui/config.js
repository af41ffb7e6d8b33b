// What is loaded, and what became of the last reload.

import { heading } from "./columns.js";
import { fill, h, mark, text } from "./dom.js";
import * as format from "./format.js";

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
