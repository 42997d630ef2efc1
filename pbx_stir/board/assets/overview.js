// The overview: how many of a day's calls were verified, by hour and trunk, and why not.

import { WORDS, whyOf } from "./calls.js";
import { $, dayOf, el, hourOf, icon, many, plain, share, svg } from "./dom.js";
import { sentence } from "./list.js";

const HOUR_MS = 3_600_000;
const MOST_REASONS = 9;
const JUDGED = ["verified", "none", "failed"];

// `search` looks for a reason's word
export function drawOverview(calls, hours, now, search) {
  const tally = { verified: 0, none: 0, failed: 0, contested: 0, all: 0 };
  const trunks = new Map();
  const reasons = { in: new Map(), out: new Map() };
  for (const [, trunk, direction, verdict, reason, count] of calls.counted(hours, now)) {
    if (direction === "in") {
      if (verdict in tally) tally[verdict] += count;
      if (JUDGED.includes(verdict)) {
        tally.all += count;
        const row = trunks.get(trunk) ?? { verified: 0, all: 0 };
        row.all += count;
        if (verdict === "verified") row.verified += count;
        trunks.set(trunk, row);
      }
    }
    if (verdict !== "contested" && direction in reasons) {
      const row = reasons[direction].get(reason) ?? { verdict, count: 0 };
      row.count += count;
      reasons[direction].set(reason, row);
    }
  }
  drawSums(tally);
  drawHours(calls, now);
  drawTrunks(trunks);
  drawReasons($("reasons-in"), reasons.in, "in", search);
  drawReasons($("reasons-out"), reasons.out, "out", search);
}

function drawSums(tally) {
  $("no-sign").textContent = WORDS.no_sign;
  $("sums").replaceChildren(...[...JUDGED, "contested"].map((verdict) =>
    el("div", { "data-verdict": verdict },
      el("dt", {}, icon(verdict), WORDS.verdicts[verdict].word),
      el("dd", {}, many(tally[verdict]), el("small", {}, verdict === "contested"
        ? " of the verified" : ` ${share(tally[verdict], tally.all)}`)))));
}

function hoursOf(calls, now) {
  const last = Math.floor(now / HOUR_MS);
  const rows = Array.from({ length: 24 }, (_, index) =>
    ({ hour: last - 23 + index, verified: 0, all: 0 }));
  for (const [hour, , direction, verdict, , count] of calls.counted(24, now)) {
    const row = rows[hour - last + 23];
    if (!row || direction !== "in" || !JUDGED.includes(verdict)) continue;
    row.all += count;
    if (verdict === "verified") row.verified += count;
  }
  return rows;
}

function drawHours(calls, now) {
  const rows = hoursOf(calls, now);
  const latest = rows[23];
  const said = `${share(latest.verified, latest.all)} of ${many(latest.all)} calls this hour`;
  $("hours-chart").replaceChildren(
    el("p.hours-now", {}, el("strong", {}, share(latest.verified, latest.all)),
      ` of ${many(latest.all)} ${latest.all === 1 ? "call" : "calls"} this hour`),
    hoursChart(rows, `Verified share of the last 24 hours; ${said}. The table has every hour.`),
  );
  const cells = (row) => el("tr", {},
    el("th", { scope: "row" }, `${dayOf(row.hour * HOUR_MS)}, ${hourOf(row.hour * HOUR_MS)}`),
    el("td.right", {}, many(row.all)), el("td.right", {}, many(row.verified)),
    el("td.right", {}, share(row.verified, row.all)));
  const table = $("hours-table");
  if (!table.hidden) {
    table.replaceChildren(el("table.bars", {},
      el("thead", {}, el("tr", {}, ...["Hour", "Calls", "Verified", "Share"].map((name, at) =>
        el(at ? "th.right" : "th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows.reverse().map(cells))));
  }
}

function hoursChart(rows, label) {
  const [width, height, left, bottom, top] = [348, 132, 40, 20, 8];
  const full = height - bottom - top;
  const step = (width - left) / 24;
  const parts = [];
  for (const percent of [0, 50, 100]) {
    const y = top + full * (1 - percent / 100);
    parts.push(svg("line", { class: "rule", x1: left, x2: width, y1: y, y2: y }),
      svg("text", { x: left - 5, y: y + 4, "text-anchor": "end" }, `${percent} %`));
  }
  rows.forEach((row, index) => {
    const x = left + index * step + 1.5;
    const time = hourOf(row.hour * HOUR_MS);
    const place = { x, width: step - 3, rx: 2 };
    if (row.all) {
      const tall = (full * row.verified) / row.all;
      parts.push(svg("g", {},
        svg("title", {}, `${time}: ${share(row.verified, row.all)} of ${many(row.all)} verified`),
        svg("rect", { ...place, class: "track", y: top, height: full }),
        svg("rect", { ...place, class: "share", y: top + full - tall, height: tall })));
    }
    if ((rows.length - 1 - index) % 6 === 0) {
      const anchor = index === 23 ? "end" : "middle";
      const at = index === 23 ? width : x + step / 2;
      parts.push(svg("text", { x: at, y: height - 5, "text-anchor": anchor }, time));
    }
  });
  const about = { class: "chart", role: "img", "aria-label": label };
  return svg("svg", { ...about, viewBox: `0 0 ${width} ${height}` }, ...parts);
}

function bar(part, whole, label) {
  const wide = whole ? (84 * part) / whole : 0;
  return svg("svg", { viewBox: "0 0 84 10", "aria-hidden": "true" },
    svg("title", {}, label),
    svg("rect", { class: "track", width: 84, height: 10, rx: 3 }),
    svg("rect", { class: "share", width: wide, height: 10, rx: 3 }));
}

function drawTrunks(trunks) {
  const rows = [...trunks].sort((one, other) => other[1].all - one[1].all);
  $("trunks").replaceChildren(rows.length ? el("table.bars", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Trunk"),
      el("th.bar-cell", {}, el("span.only-heard", {}, "As a bar")),
      el("th.right", { scope: "col" }, "Verified"), el("th.right", { scope: "col" }, "Calls"))),
    el("tbody", {}, ...rows.map(([trunk, row]) => el("tr", {},
      el("th", { scope: "row" }, plain(trunk, 40)),
      el("td.bar-cell", {}, bar(row.verified, row.all, share(row.verified, row.all))),
      el("td.right", {}, share(row.verified, row.all)),
      el("td.right", {}, many(row.all)))))) : el("p.soft.note", {}, "No incoming calls yet."));
}

function drawReasons(place, reasons, direction, search) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.reason : "";
  const rows = [...reasons].sort((one, other) => other[1].count - one[1].count);
  const all = rows.reduce((sum, [, row]) => sum + row.count, 0);
  const lines = rows.slice(0, MOST_REASONS).map(([reason, row]) => {
    const name = el("button.link", { type: "button", "data-reason": reason },
      sentence(whyOf(reason, direction).short));
    name.addEventListener("click", () => search(reason, direction));
    return el("tr", { "data-verdict": row.verdict }, el("th", { scope: "row" }, name),
      el("td.bar-cell", {}, bar(row.count, all, share(row.count, all))),
      el("td.right", {}, many(row.count)));
  });
  const rest = rows.slice(MOST_REASONS).reduce((sum, [, row]) => sum + row.count, 0);
  if (rest) {
    lines.push(el("tr", {}, el("th", { scope: "row" }, "Other reasons"),
      el("td.bar-cell", {}, bar(rest, all, share(rest, all))), el("td.right", {}, many(rest))));
  }
  place.replaceChildren(lines.length ? el("table.bars", {},
    el("thead.only-heard", {}, el("tr", {}, ...["Reason", "As a bar", "Calls"].map((name) =>
      el("th", { scope: "col" }, name)))), el("tbody", {}, ...lines))
    : el("p.soft.note", {}, "No calls yet."));
  // what was focused is made anew
  if (focused) place.querySelector(`[data-reason="${CSS.escape(focused)}"]`)?.focus();
}
