// The list: a table of which only the rows in sight exist, newest first, for mouse and keyboard.

import { isIn } from "./calls.js";
import { dayOf, el, icon, number, plain, timeOf, took } from "./dom.js";

const SPARE_ROWS = 6;

export class CallList {
  #scroll;
  #table;
  #body;
  #newer;
  #choose;
  #calls = []; // newest first
  #index = new Map();
  #rows = new Map();
  #current = ""; // the row that has, or would get, the focus
  #chosen = "";
  #height = 54;
  #unseen = 0;

  // choose(call, byKeyboard) is called when a row is chosen
  constructor({ scroll, table, body, newer }, choose) {
    this.#scroll = scroll;
    this.#table = table;
    this.#body = body;
    this.#newer = newer;
    this.#choose = choose;
    scroll.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(scroll);
    body.addEventListener("click", (event) => this.#clicked(event));
    body.addEventListener("keydown", (event) => this.#pressed(event));
    body.addEventListener("focusin", (event) => this.#focused(event));
    newer.addEventListener("click", () => this.toTop());
  }

  // Take the calls to be shown, newest first; `added` of them are new on top. From the beginning
  // where the filter has changed.
  show(calls, added, fromTop) {
    const holds = !fromTop && this.#holds();
    this.#calls = calls;
    this.#index = new Map(calls.map((call, index) => [call.id, index]));
    const height = calls.length * this.#height;
    this.#body.style.height = `${height}px`;
    this.#table.setAttribute("aria-rowcount", String(calls.length + 1));
    if (fromTop) {
      this.#scroll.scrollTop = 0;
      this.#unseen = 0;
    } else if (holds && added) {
      // what somebody reads stays where it is
      this.#unseen += added;
      this.#scroll.scrollTop += added * this.#height;
    }
    this.#draw(holds || fromTop ? 0 : added);
  }

  // A call of the list has changed.
  changed(call) {
    this.#rows.get(call.id)?.remove();
    this.#rows.delete(call.id);
    this.#draw();
  }

  mark(id) {
    this.#rows.get(this.#chosen)?.setAttribute("aria-selected", "false");
    this.#chosen = id;
    this.#rows.get(id)?.setAttribute("aria-selected", "true");
  }

  // Bring a call's row into sight and focus it; false where it is not in the list.
  focus(id) {
    const index = this.#index.get(id);
    if (index === undefined) return false;
    this.#go(index);
    return true;
  }

  toTop() {
    this.#scroll.scrollTop = 0;
    this.#unseen = 0;
    if (this.#body.contains(document.activeElement)) this.#go(0);
    this.#draw();
  }

  #measure() {
    const row = getComputedStyle(this.#scroll).getPropertyValue("--row");
    this.#height = parseFloat(row) || 54;
    this.#body.style.height = `${this.#calls.length * this.#height}px`;
    this.#draw();
  }

  #holds() {
    const focused = document.activeElement;
    return (
      this.#scroll.scrollTop > 4 ||
      (this.#body.contains(focused) && focused.matches(":focus-visible"))
    );
  }

  #draw(fresh = 0) {
    const { scrollTop, clientHeight } = this.#scroll;
    if (scrollTop <= 4) this.#unseen = 0;
    const first = Math.max(0, Math.floor(scrollTop / this.#height) - SPARE_ROWS);
    const end = Math.min(
      this.#calls.length,
      Math.ceil((scrollTop + clientHeight) / this.#height) + SPARE_ROWS,
    );
    const hadFocus = this.#body.contains(document.activeElement);
    if (!this.#index.has(this.#current)) this.#current = this.#calls[0]?.id ?? "";
    const wanted = new Map();
    for (let index = first; index < end; index += 1) wanted.set(this.#calls[index].id, index);
    // the row with the focus exists wherever it is
    const current = this.#index.get(this.#current);
    if (current !== undefined) wanted.set(this.#current, current);
    for (const [id, row] of this.#rows) {
      if (!wanted.has(id)) {
        row.remove();
        this.#rows.delete(id);
      }
    }
    for (const [id, index] of wanted) this.#place(id, index, index < fresh);
    if (hadFocus && !this.#body.contains(document.activeElement)) {
      this.#rows.get(this.#current)?.focus({ preventScroll: true });
    }
    this.#newer.hidden = this.#unseen === 0;
    this.#newer.textContent = `↑ ${this.#unseen} newer ${this.#unseen === 1 ? "call" : "calls"}`;
  }

  #place(id, index, isFresh) {
    let row = this.#rows.get(id);
    if (!row) {
      row = made(this.#calls[index]);
      if (isFresh) row.classList.add("fresh");
      this.#rows.set(id, row);
      this.#body.append(row);
    }
    row.style.transform = `translateY(${index * this.#height}px)`;
    row.setAttribute("aria-rowindex", String(index + 2));
    row.setAttribute("aria-selected", String(id === this.#chosen));
    row.tabIndex = id === this.#current ? 0 : -1;
  }

  #clicked(event) {
    const row = event.target.closest("tr");
    const index = this.#index.get(row?.dataset.id);
    if (index !== undefined) this.#choose(this.#calls[index], false);
  }

  #focused(event) {
    const id = event.target.closest("tr")?.dataset.id;
    if (!id || id === this.#current) return;
    const before = this.#rows.get(this.#current);
    if (before) before.tabIndex = -1;
    this.#current = id;
    this.#rows.get(id).tabIndex = 0;
  }

  #pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this.#index.get(this.#current) ?? 0;
    const page = Math.max(1, Math.floor(this.#scroll.clientHeight / this.#height) - 1);
    const ways = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page,
      Home: 0, End: this.#calls.length - 1,
    };
    if (event.key in ways) this.#go(ways[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#choose(this.#calls[at], true);
    else return;
    event.preventDefault();
  }

  #go(wanted) {
    const index = Math.min(Math.max(wanted, 0), this.#calls.length - 1);
    if (index < 0) return;
    this.#current = this.#calls[index].id;
    const top = index * this.#height;
    const head = this.#table.tHead.offsetHeight;
    const { scrollTop, clientHeight } = this.#scroll;
    if (top < scrollTop) this.#scroll.scrollTop = top;
    else if (top + this.#height + head > scrollTop + clientHeight) {
      this.#scroll.scrollTop = top + this.#height + head - clientHeight;
    }
    this.#draw();
    this.#rows.get(this.#current)?.focus({ preventScroll: true });
  }
}

function made(call) {
  const { line, verdict } = call;
  const cell = (...children) => el("td", { role: "gridcell" }, ...children);
  const text = (kind, shown, title = null) => el(kind, { title }, shown);
  const today = call.at.toDateString() === new Date().toDateString();
  const name = plain(line.name, 64);
  const direction = isIn(call) ? "in" : "out";
  const signer = plain(line.signer);
  const row = el(
    "tr",
    { role: "row", "data-id": call.id, "data-verdict": verdict },
    cell(
      el("time", { datetime: line.time }, timeOf(call.at)),
      today ? null : text("span.one.small", dayOf(call.at)),
    ),
    cell(
      el("span.pill", {}, icon(verdict), call.word),
      name ? el("bdi.one.name-too", {}, name) : null,
    ),
    cell(
      el("span.way", {}, icon(direction), el("span.one", {}, direction === "in" ? "In" : "Out")),
      text("span.one.small", plain(line.trunk, 40), plain(line.trunk, 40)),
    ),
    cell(
      text("bdi.one.number", number(line.orig)),
      name ? text("bdi.one.small", name, name) : null,
      el("span.one.number.to-too", { "aria-hidden": "true" }, "→ ", el("bdi", {}, number(line.dest))),
    ),
    cell(text("bdi.one.number", number(line.dest))),
    cell(text("span.two", sentence(call.why.short), call.why.short)),
    cell(
      signer ? text("bdi.one", signer, signer) : null,
      line.attest ? text("span.one.small", `Attestation ${plain(line.attest, 1)}`) : null,
    ),
    el("td.right", { role: "gridcell" },
      el("span.took", {}, took(line.ms)),
      line.mode === "monitor" ? text("span.tag", "watched", "Watched only: nothing was set") : null),
  );
  return row;
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
