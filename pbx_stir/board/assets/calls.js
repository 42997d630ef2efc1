// The calls that the page has, what they are called, and the counts of a day.

import { number, plain, timeOf } from "./dom.js";

export let WORDS = null;

export async function fetchWords() {
  const answer = await fetch("/words.json", { cache: "no-store" });
  if (answer.status === 401) {
    location.assign("/login?ended");
    await new Promise(() => {}); // the page is being left
  }
  WORDS = await answer.json();
}

export function whyOf(reason, direction) {
  const known = WORDS.reasons[direction === "out" ? "out" : "in"];
  return known[reason] ?? { short: plain(reason, 40), meaning: "", advice: "" };
}

export const isIn = (call) => call.line.direction !== "out";

class Call {
  constructor(item) {
    this.line = item.line;
    this.id = String(item.line.id);
    this.judged = item.count[3];
    this.contested = false;
    this.claimedBy = "";
    this.at = new Date(item.line.time);
    const line = item.line;
    const why = this.why;
    this.text = [
      line.orig, line.dest, number(line.orig), number(line.dest), line.name, line.signer,
      line.trunk, line.reason, why.short, line.id, line.uniqueid, line.linkedid, line.diverted_by,
      line.call_reason, line.pbx, ...(Array.isArray(line.originator) ? line.originator : []),
    ].map((part) => plain(part).toLowerCase()).join("\n");
  }

  get verdict() {
    return this.contested ? "contested" : this.judged;
  }

  get word() {
    return (WORDS.verdicts[this.verdict] ?? WORDS.verdicts.other).word;
  }

  get why() {
    const { reason, direction } = this.line;
    return whyOf(this.contested ? "contested" : reason, direction);
  }

  // one line for those who hear the page
  get spoken() {
    const { orig, dest } = this.line;
    return `${this.word}: ${number(orig)} to ${number(dest)}, ${this.why.short}`;
  }
}

export class Calls {
  all = []; // oldest first
  byId = new Map();
  counts = new Map();
  capacity = 1000;

  // what a snapshot says takes the place of everything
  begin(snapshot) {
    this.capacity = snapshot.capacity;
    this.all = [];
    this.byId.clear();
    this.counts.clear();
    for (const [...row] of snapshot.counts) this.#count(row.slice(0, 5), row[5]);
    this.add(snapshot.calls, false);
  }

  // Gives {fresh: calls that are new, contests: what the items say of earlier ones}
  add(items, counted = true) {
    const fresh = [];
    const contests = [];
    for (const item of items) {
      if (counted) this.#count(item.count, 1);
      if (item.line.event === "call") {
        const call = new Call(item);
        this.all.push(call);
        this.byId.set(call.id, call);
        fresh.push(call);
      } else {
        const call = this.byId.get(item.line.id) ?? null;
        if (call) {
          call.contested = true;
          call.claimedBy = String(item.line.claimed_by ?? "");
        }
        contests.push(call);
      }
    }
    const excess = this.all.length - this.capacity;
    if (excess > 0) {
      for (const old of this.all.splice(0, excess)) this.byId.delete(old.id);
    }
    return { fresh, contests };
  }

  // rows of [hour, trunk, direction, verdict, reason, calls] of the last `hours` hours
  *counted(hours, now) {
    const first = Math.floor(now / 3_600_000) - hours + 1;
    for (const row of this.counts.values()) if (row[0] >= first) yield row;
  }

  #count(key, calls) {
    const name = key.join("\n");
    const row = this.counts.get(name);
    if (row) row[5] += calls;
    else this.counts.set(name, [...key, calls]);
    if (this.counts.size > 20_000) this.#forget();
  }

  #forget() {
    const newest = Math.max(...[...this.counts.values()].map((row) => row[0]));
    for (const [name, row] of this.counts) if (row[0] < newest - 24) this.counts.delete(name);
  }
}

// A test of calls for what the form of filters says. Each word of the search must be found.
export function filterOf({ search, direction, verdict, trunk }) {
  const wanted = search.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const digits = /^[+\d().\s-]{3,}$/.test(search.trim()) ? search.replace(/\D/g, "") : "";
  return (call) =>
    (!direction || call.line.direction === direction) &&
    (!verdict || call.verdict === verdict) &&
    (!trunk || call.line.trunk === trunk) &&
    (!wanted.length ||
      wanted.every((word) => call.text.includes(word)) ||
      (digits.length > 2 && call.text.includes(digits)));
}

// "12 new calls: 3 verified, 9 not verified"
export function summed(calls) {
  if (calls.length === 1) return `${timeOf(calls[0].at)}. ${calls[0].spoken}`;
  const words = new Map();
  for (const call of calls) words.set(call.word, (words.get(call.word) ?? 0) + 1);
  const parts = [...words].map(([word, count]) => `${count} ${word.toLowerCase()}`);
  return `${calls.length} new calls: ${parts.join(", ")}`;
}
