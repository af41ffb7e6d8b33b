// The stream of the server, and what it has said so far. Closed while nobody looks.

const SPAN = 600;

/** Tells `change` (something new), `page` (of the client or topic), `state` (of the connection) and `refused`. */
export class Feed extends EventTarget {
  hello = null;
  head = null;
  at = 0;
  points = [];
  clients = new Map();
  topics = new Map();
  kafka = [];
  page = null;
  /** connecting, live, waiting, hidden. */
  state = "connecting";

  #source = null;
  #subject = "";
  #last = "";
  #heard = 0;
  #retry = 0;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.open()));
    setInterval(() => {
      if (this.#source && this.state === "live" && Date.now() - this.#heard > 4000) this.#tell("waiting");
    }, 1000);
  }

  /** Follows the page of a client or topic too: "client=shop", or "". */
  follow(subject) {
    if (subject === this.#subject && this.#source) return;
    this.#subject = subject;
    this.page = null;
    this.open();
  }

  open() {
    clearTimeout(this.#retry);
    this.#source?.close();
    if (document.hidden) return this.#pause();
    const query = [this.#subject, this.#last && `last=${this.#last}`].filter(Boolean).join("&");
    const source = new EventSource(`../admin/stream${query && `?${query}`}`);
    this.#source = source;
    const on = (name, take) =>
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#last = event.lastEventId || this.#last;
        this.#heard = Date.now();
        take(JSON.parse(event.data));
      });
    on("hello", (data) => this.#greet(data));
    on("tick", (data) => this.#step(data));
    on("page", (data) => {
      // Requests and problems are sent only when there are new ones.
      this.page = { ...this.page, ...data };
      this.dispatchEvent(new Event("page"));
    });
    source.onerror = () => {
      if (source !== this.#source) return;
      this.#tell("waiting");
      if (source.readyState === EventSource.CLOSED) this.#ask();
    };
  }

  /** Gone for good, or until the login. */
  stop() {
    this.#source?.close();
    this.#source = null;
  }

  #pause() {
    this.stop();
    clearTimeout(this.#retry);
    this.#tell("hidden");
  }

  /** The browser gave up: an answer that was no stream. */
  async #ask() {
    this.stop();
    let status = 0;
    try {
      status = (await fetch("../admin/session")).status;
    } catch {
      // Nobody answers: klamm restarts, or the way to it is broken.
    }
    if (status === 401 || status === 403 || status === 421) {
      this.dispatchEvent(new CustomEvent("refused", { detail: status }));
    } else {
      this.#retry = setTimeout(() => this.open(), 2000);
    }
  }

  #greet(data) {
    this.hello = data;
    if (data.full) {
      this.points = [];
      this.clients = new Map();
      this.topics = new Map();
    }
    this.points.push(...data.points);
    this.#take(data);
  }

  #step(data) {
    if (data.point) this.points.push(data.point);
    this.#take(data);
  }

  #take({ at, head, clients = [], topics = [], gone_clients = [], gone_topics = [], kafka }) {
    this.at = at;
    this.head = head;
    this.kafka = kafka;
    this.points.splice(0, Math.max(0, this.points.length - SPAN));
    for (const row of clients) this.clients.set(row.id, row);
    for (const row of topics) this.topics.set(row.id, row);
    for (const id of gone_clients) this.clients.delete(id);
    for (const id of gone_topics) this.topics.delete(id);
    this.#tell("live");
    this.dispatchEvent(new Event("change"));
  }

  #tell(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
