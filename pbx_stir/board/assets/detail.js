// One call: what the verdict means, what was looked at, and in which order.

import { WORDS, isIn, whyOf } from "./calls.js";
import { dayOf, el, icon, number, plain, timeOf, took } from "./dom.js";
import { sentence } from "./list.js";

// close(), search(text) and open(id) are what its buttons do
export function drawDetail(place, call, { close, search, open, knows }) {
  const { line, verdict } = call;
  const words = WORDS.verdicts[verdict] ?? WORDS.verdicts.other;
  const why = call.why;
  const closer = el("button", { type: "button", "aria-label": "Close this call" }, "Close");
  closer.addEventListener("click", close);
  place.dataset.verdict = verdict;
  place.replaceChildren(...[
    el("div.detail-head", {},
      el("h2.detail-word", { id: "detail-title", tabindex: "-1" }, icon(verdict), words.word),
      closer),
    el("p.clause", {}, why.short),
    el("h3", {}, "What it means"),
    el("p", {}, why.meaning),
    el("p.soft", {}, words.meaning),
    why.advice ? el("p.advice", {}, el("strong", {}, "What to do: "), why.advice) : null,
    ...otherCall(call, open, knows),
    el("h3", {}, "The call"),
    el("dl.facts", {}, ...facts(call)),
    ...asked(line),
    ...steps(call),
    el("div.detail-buttons", {}, ...buttons(line, search)),
  ].filter(Boolean));
}

// the call that claimed the same signature
function otherCall(call, open, knows) {
  const id = call.claimedBy || String(call.line.contests ?? "");
  if (!knows(id)) return [];
  const other = el("button.link", { type: "button" }, "Show the other call");
  other.addEventListener("click", () => open(id));
  return [el("p", {}, other)];
}

function facts(call) {
  const { line } = call;
  const rows = [
    ["Time", `${dayOf(call.at)}, ${timeOf(call.at)}`],
    ["Direction", `${isIn(call) ? "Incoming" : "Outgoing"} on ${plain(line.trunk, 40)}`],
    ["From", number(line.orig)],
    ["From, as given", plain(line.orig_given, 64)],
    ["Caller ID", line.restricted === true && "Withheld by the caller"],
    ["To", number(line.dest)],
    ["To, as given", plain(line.dest_given, 64)],
    ["Name", plain(line.name, 64) && `${plain(line.name, 64)} (as its signer says)`],
    ["Calls about", plain(line.call_reason)],
    ["Forwarded by", line.diverted_by && number(line.diverted_by)],
    ["Signed by", plain(line.signer)],
    ["Attestation", WORDS.attestations[line.attest]],
    ["Placed by", Array.isArray(line.originator) ? plain(line.originator.join(", ")) : ""],
    ["Came in by", plain(line.came_in, 40)],
    ["Took", took(line.ms)],
    ["PBX was told", told(line)],
    ["Detail", plain(line.detail, 400)],
    ["PBX", plain(line.pbx)],
    ["Call in the PBX", plain(line.uniqueid)],
    ["Id in the log", plain(line.id)],
    ["Reason word", call.contested ? `contested, before that ${plain(line.reason, 40)}` : plain(line.reason, 40)],
  ];
  return rows
    .filter(([, value]) => value)
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, value))]);
}

function told(line) {
  if (line.mode === "monitor") return "No: this trunk is only watched";
  return line.released ? "Yes" : "No: the call had gone on, or was over";
}

// the call placement services, and what each answered
function asked(line) {
  const all = Array.isArray(line.asked) ? line.asked : [];
  if (!all.length) return [];
  const items = all.map((one) => el("li", {},
    el("p.step", {}, el("bdi", {}, plain(one.cps, 200))),
    el("p", {}, answerOf(one, line.direction))));
  return [el("h3", {}, "Who was asked"), el("ol.steps", {}, ...items)];
}

function answerOf(one, direction) {
  const after = typeof one.ms === "number" ? `, after ${took(one.ms)}` : "";
  if (one.answer === "") return "No answer in time.";
  if (one.answer !== "ok") return `${sentence(whyOf(one.answer, direction).short)}${after}.`;
  if (direction === "out") return `Took it${after}.`;
  const opened = Number(one.opened) || 0;
  const ours = opened ? `${opened} of them for us` : "none of them for us";
  return `Gave ${Number(one.passports) || 0}, ${ours} (some are always dummies)${after}.`;
}

function steps({ line, contested }) {
  const met = Array.isArray(line.rejections) ? line.rejections : [];
  const title = el("h3", {}, "What was looked at, step by step");
  if (!met.length) {
    const went = line.reason === "verified" || line.status === "stored"
      ? "Every step went well." : "Nothing was turned down on the way.";
    const said = contested ? `${went} Then another call claimed the same signature.` : went;
    return [title, el("p.soft", {}, said)];
  }
  const items = met.map((one) => el("li", {},
    el("p.step", {}, stepWords(String(one.step ?? ""))),
    el("p", {}, sentence(whyOf(one.reason, line.direction).short)),
    one.detail ? el("p.soft", {}, el("bdi", {}, plain(one.detail, 400))) : null));
  const left = Number(line.rejections_left_out) || 0;
  return [title, el("ol.steps", {}, ...items),
    left ? el("p.soft", {}, `and ${left} more, in the call log`) : null].filter(Boolean);
}

function stepWords(step) {
  if (WORDS.steps[step]) return WORDS.steps[step];
  const [first, ...rest] = step.split(" ");
  if (rest.length && WORDS.steps[first]) return `${WORDS.steps[first]} ${plain(rest.join(" "), 200)}`;
  return /^https?:/.test(step) ? `${WORDS.steps.store} ${plain(step, 200)}` : plain(step, 200);
}

function buttons(line, search) {
  return [["Calls of this caller", line.orig], ["Calls to this number", line.dest]]
    .filter(([, value]) => value)
    .map(([name, value]) => {
      const made = el("button", { type: "button" }, name);
      made.addEventListener("click", () => search(plain(value, 64)));
      return made;
    });
}
