// The stream of calls: connects, says how it stands, and comes back by itself where it left off.

const SILENCE_MS = 25_000;
const LONGEST_WAIT_MS = 15_000;

export class Stream {
  #source = null;
  #place = "";
  #heard = 0;
  #tries = 0;
  #timer = 0;
  #say;
  #take;

  // say(state); take(kind, what was sent)
  constructor(say, take) {
    this.#say = say;
    this.#take = take;
    setInterval(() => this.#watch(), 2_000);
    addEventListener("online", () => this.#open());
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#open());
    this.#open();
  }

  #open() {
    this.#close();
    clearTimeout(this.#timer);
    this.#heard = Date.now();
    const after = this.#place ? `?after=${encodeURIComponent(this.#place)}` : "";
    const source = new EventSource(`/events${after}`);
    this.#source = source;
    for (const kind of ["snapshot", "calls", "beat"]) {
      source.addEventListener(kind, (event) => {
        this.#heard = Date.now();
        this.#place = event.lastEventId;
        if (this.#tries >= 0) {
          this.#tries = -1;
          this.#say("live");
        }
        if (kind !== "beat") this.#take(kind, JSON.parse(event.data));
      });
    }
    source.addEventListener("ended", () => location.assign("/login?ended"));
    source.addEventListener("error", () => this.#lost());
  }

  #close() {
    this.#source?.close();
    this.#source = null;
  }

  #watch() {
    if (this.#source && Date.now() - this.#heard > SILENCE_MS) this.#lost();
  }

  #lost() {
    if (!this.#source) return;
    this.#close();
    this.#tries = Math.max(0, this.#tries) + 1;
    const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.#tries) * (0.75 + Math.random() / 2);
    this.#say("lost");
    this.#timer = setTimeout(() => this.#again(), wait);
  }

  // a stream does not say why it was refused; a file behind the same door does
  async #again() {
    try {
      const answer = await fetch("/words.json", { cache: "no-store" });
      if (answer.status === 401) {
        location.assign("/login?ended");
        return;
      }
    } catch {
      // nobody there yet
    }
    this.#open();
  }
}
