// The call board: puts the stream, the list, the overview and the form of filters together.

import { Calls, WORDS, fetchWords, filterOf, summed } from "./calls.js";
import { drawDetail } from "./detail.js";
import { $, el, icon, many, number, plain, timeOf } from "./dom.js";
import { CallList, sentence } from "./list.js";
import { drawOverview } from "./overview.js";
import { Stream } from "./stream.js";

const ANNOUNCE_MS = 6_000;
const LATEST_MS = 1_200;
const OVERVIEW_MS = 1_000;

const calls = new Calls();
const filters = { search: "", direction: "", verdict: "", trunk: "" };
let passes = filterOf(filters);
let hours = 24;
let paused = null; // while paused: what the list showed
let chosen = "";
let state = "connecting";
let waiting = 0; // a frame that is to be drawn
let added = 0;
let fromTop = true;
let unspoken = [];

const list = new CallList(
  { scroll: $("scroll"), table: $("calls"), body: $("rows"), newer: $("newer") },
  (call, byKeyboard) => open(call, byKeyboard),
);

// ---- what comes

function take(kind, sent) {
  if (kind === "snapshot") {
    calls.begin(sent);
    if (paused) paused = [...calls.all];
    fromTop = true;
  } else {
    const { fresh, contests } = calls.add(sent);
    added += fresh.filter(passes).length;
    unspoken.push(...fresh.filter(passes));
    if (unspoken.length > calls.capacity) unspoken = unspoken.slice(-calls.capacity);
    contests.forEach(contested);
    speak();
  }
  drawSoon();
  drawOverviewSoon();
}

function contested(call) {
  const what = "Two calls claimed this signature; either may be the genuine one.";
  const who = call ? `${number(call.line.orig)} to ${number(call.line.dest)}` : "a call before these";
  $("contest").querySelector(".icon-place").replaceChildren(icon("contested"));
  $("contest-text").textContent = `Contested: ${who}. ${what}`;
  $("contest").hidden = false;
  $("contest-show").hidden = !call;
  $("contest").dataset.id = call?.id ?? "";
  speakAtOnce(`Contested: ${who}. ${what}`);
  if (call) {
    list.changed(call);
    if (chosen === call.id) redrawDetail();
  }
}

function told(now) {
  const before = state;
  state = now;
  if (now === "lost" && $("lost").hidden) {
    // once, and not at every try: it is read out
    $("lost").textContent = `Connection lost at ${timeOf(new Date())}: what you see is from ` +
      "before. The page tries again by itself.";
    $("lost").hidden = false;
  } else if (now !== "lost") {
    $("lost").hidden = true;
    if (before === "lost") speakAtOnce("Connected again.");
  }
  drawState();
}

function drawState() {
  const shown = state === "live" && paused ? "paused" : state;
  const words = { connecting: "Connecting…", live: "Live", lost: "Connection lost", paused: "Paused" };
  $("state").dataset.state = shown;
  if ($("state-text").textContent !== words[shown]) $("state-text").textContent = words[shown];
}

// ---- what is drawn

function drawSoon() {
  waiting ||= requestAnimationFrame(draw);
}

function draw() {
  waiting = 0;
  const source = paused ?? calls.all;
  const shown = source.filter(passes).reverse();
  list.show(shown, paused ? 0 : added, fromTop);
  const missed = paused ? calls.all.length - calls.all.indexOf(paused.at(-1)) - 1 : 0;
  added = 0;
  fromTop = false;
  $("shown").textContent = shown.length === source.length
    ? `${many(source.length)} ${source.length === 1 ? "call" : "calls"}, newest first`
    : `${many(shown.length)} of ${many(source.length)} calls`;
  if (paused && missed) $("shown").textContent += `; ${many(missed)} newer wait`;
  $("empty").hidden = shown.length > 0;
  $("empty").textContent = source.length
    ? "No call fits the filter." : "No call yet. Calls appear here as they happen.";
  drawTrunkChoices();
  drawLatestSoon();
}

const atMost = (ms, work) => {
  let timer = 0;
  let last = -Infinity;
  return () => {
    if (timer) return;
    const wait = Math.max(0, last + ms - performance.now());
    timer = setTimeout(() => {
      timer = 0;
      last = performance.now();
      work();
    }, wait);
  };
};

const drawLatestSoon = atMost(LATEST_MS, () => {
  const call = (paused ?? calls.all).findLast(passes);
  $("latest").dataset.verdict = call?.verdict ?? "waiting";
  $("latest").querySelector(".latest-icon").replaceChildren(icon(call?.verdict ?? "waiting"));
  const which = $("filters").hasAttribute("data-active") ? "Latest call that fits" : "Latest call";
  $("latest-title").textContent = call ? `${which}, ${timeOf(call.at)}` : which;
  $("latest-word").textContent = call?.word ?? "Waiting for a call";
  $("latest-why").textContent = call ? sentence(call.why.short) : "Calls appear here as they happen.";
  $("latest-numbers").replaceChildren(...(call
    ? [el("bdi", {}, number(call.line.orig)), " ", el("bdi", {}, `→ ${number(call.line.dest)}`)] : []));
  const more = call && [plain(call.line.name, 64), call.line.signer && `signed by ${plain(call.line.signer)}`,
    `${call.line.direction === "out" ? "outgoing" : "incoming"} on ${plain(call.line.trunk, 40)}`];
  $("latest-more").textContent = more ? more.filter(Boolean).join(" · ") : "";
});

const drawOverviewSoon = atMost(OVERVIEW_MS, () =>
  drawOverview(calls, hours, Date.now(), (reason, direction) => search(reason, { direction })));

function drawTrunkChoices() {
  const known = new Set([...$("trunk").options].map((option) => option.value));
  for (const call of calls.all) {
    const { trunk } = call.line;
    if (typeof trunk === "string" && !known.has(trunk) && known.size < 66) {
      known.add(trunk);
      $("trunk").append(el("option", { value: trunk }, plain(trunk, 40)));
    }
  }
}

// ---- what is heard: little at a time, the important at once

const speak = atMost(ANNOUNCE_MS, () => {
  const heard = unspoken;
  unspoken = [];
  if (heard.length && !paused && $("announce").checked) $("heard").textContent = summed(heard);
});

function speakAtOnce(text) {
  $("heard").textContent = text;
}

// ---- one call

function open(call, byKeyboard) {
  chosen = call.id;
  list.mark(call.id);
  redrawDetail();
  $("detail").hidden = false;
  $("overview").inert = false;
  $("detail").closest(".side").scrollTop = 0;
  if (byKeyboard || innerWidth < 1060) $("detail-title").focus();
}

function redrawDetail() {
  const call = calls.byId.get(chosen) ?? paused?.find((one) => one.id === chosen);
  if (!call) return;
  drawDetail($("detail"), call, {
    close: closeDetail,
    search: (text) => search(text, {}),
    open: (id) => calls.byId.has(id) && open(calls.byId.get(id), true),
    knows: (id) => calls.byId.has(id),
  });
}

function closeDetail() {
  if (!chosen) return;
  const id = chosen;
  const hadFocus = $("detail").contains(document.activeElement);
  $("detail").hidden = true;
  chosen = "";
  list.mark("");
  if (hadFocus && !list.focus(id)) $("search").focus();
}

// ---- what people do

function filter() {
  Object.assign(filters, {
    search: $("search").value, direction: $("direction").value,
    verdict: $("verdict").value, trunk: $("trunk").value,
  });
  $("filters").toggleAttribute("data-active", Object.values(filters).some(Boolean));
  passes = filterOf(filters);
  unspoken = [];
  fromTop = true;
  drawSoon();
}

function search(text, { direction = "" }) {
  $("filters").reset();
  $("search").value = text;
  $("direction").value = direction;
  view("calls");
  if (innerWidth < 1060) closeDetail();
  filter();
  $("search").focus();
}

function pause() {
  paused = paused ? null : [...calls.all];
  $("pause").setAttribute("aria-pressed", String(Boolean(paused)));
  $("pause").textContent = paused ? "Go on" : "Pause";
  fromTop = !paused;
  drawState();
  drawSoon();
}

function view(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll("[data-show]")) {
    button.setAttribute("aria-pressed", String(button.dataset.show === name));
  }
}

function listen() {
  for (const id of ["search", "direction", "verdict", "trunk"]) $(id).addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(filter));
  $("pause").addEventListener("click", pause);
  $("contest-close").addEventListener("click", () => { $("contest").hidden = true; });
  $("contest-show").addEventListener("click", () => {
    const call = calls.byId.get($("contest").dataset.id);
    if (call) open(call, true);
  });
  $("hours-switch").addEventListener("click", () => {
    const table = $("hours-table");
    table.hidden = !table.hidden;
    $("hours-switch").setAttribute("aria-expanded", String(!table.hidden));
    drawOverviewSoon();
  });
  for (const button of document.querySelectorAll("[data-hours]")) {
    button.addEventListener("click", () => {
      hours = Number(button.dataset.hours);
      for (const one of document.querySelectorAll("[data-hours]")) {
        one.setAttribute("aria-pressed", String(one === button));
      }
      drawOverviewSoon();
    });
  }
  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => view(button.dataset.show));
  }
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen && event.target !== $("search")) closeDetail();
  });
  $("theme").value = document.documentElement.dataset.theme ?? "";
  $("theme").addEventListener("input", () => {
    const theme = $("theme").value;
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    try {
      localStorage.setItem("pbx-stir-theme", theme);
    } catch {
      // then it holds until the page is left
    }
  });
}

async function begin() {
  for (let wait = 1_000; !WORDS; wait = Math.min(15_000, wait * 2)) {
    try {
      await fetchWords();
    } catch {
      told("lost");
      await new Promise((go) => setTimeout(go, wait));
    }
  }
  for (const [name, { word }] of Object.entries(WORDS.verdicts)) {
    if (name !== "other") $("verdict").append(el("option", { value: name }, word));
  }
  listen();
  filter();
  new Stream(told, take);
  // the hour ends also where no call comes
  setInterval(drawOverviewSoon, 60_000);
}

begin();
