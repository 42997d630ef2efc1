// Elements, icons and how things are written. Text is only ever set as text: names are strangers'.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  verified: ["M12 3l7 3v5c0 4.6-3 8-7 10-4-2-7-5.4-7-10V6z", "M8.6 12l2.5 2.5 4.4-5"],
  none: ["M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18z", "M8 12h8"],
  failed: ["M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3z", "M9 9l6 6M15 9l-6 6"],
  contested: ["M12 3.5L21.5 20h-19z", "M12 10v4.5M12 17.2v.3"],
  signed: ["M4 20l1-4.4L15.6 5l3.4 3.4L8.4 19z", "M13.4 7.2l3.4 3.4"],
  unsigned: ["M4 20l1-4.4L15.6 5l3.4 3.4L8.4 19z", "M3.5 3.5l17 17"],
  error: ["M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18z", "M12 7.5v5.2M12 16.2v.3"],
  other: ["M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18z", "M12 16.8v.2M9.5 9.5a2.5 2.5 0 1 1 2.5 4v.5"],
  waiting: ["M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18z", "M12 7v5l3 2"],
  in: ["M18 6L7 17", "M7 9v8h8"],
  out: ["M6 18L17 7", "M9 7h8v8"],
};

export const $ = (id) => document.getElementById(id);

// el("p.soft", {title: "…"}, "text", child, …); a value of null leaves an attribute out
export function el(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function icon(name) {
  const paths = (ICONS[name] ?? ICONS.other).map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, ...paths);
}

// A stranger's text: without what cannot be seen or turns the line around, in bounds.
export function plain(text, longest = 96) {
  const shown = String(text ?? "").replace(/[\p{C}\u115f\u1160\u2028\u2029\u3164\uffa0]/gu, "");
  return shown.length > longest ? `${shown.slice(0, longest)}…` : shown;
}

export function number(text) {
  const digits = plain(text, 64);
  const found = /^1([2-9][0-9]{2})([0-9x]{3})([0-9x]{4})$/.exec(digits);
  return found ? `+1 ${found[1]}-${found[2]}-${found[3]}` : digits || "–";
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const hour = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
export const timeOf = (at) => clock.format(at);
export const hourOf = (at) => hour.format(at);
export const dayOf = (at) => day.format(at);
export const many = (count) => count.toLocaleString();

export function share(part, whole) {
  if (!whole) return "–";
  const percent = (100 * part) / whole;
  // neither 0 % nor 100 % where it is not quite that
  if (part && percent < 1) return "<1 %";
  if (part < whole && percent > 99) return ">99 %";
  return `${Math.round(percent)} %`;
}

export const took = (ms) =>
  typeof ms !== "number" ? "" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
