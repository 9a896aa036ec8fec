// What makes the pages live. Every page works without this file; it only adds: times in the
// reader's zone, receipts as they arrive, copying, and a plain word while offline.
"use strict";

// ---- Times: in the reader's zone, with how long ago; in UTC on demand.

const zoneKey = "holdfast-utc";
let utc = false;
try { utc = localStorage.getItem(zoneKey) === "1"; } catch { /* storage may be closed to us */ }

const language = document.documentElement.lang || "en";
const ago = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

function since(at) {
  const seconds = Math.round((at - Date.now()) / 1000);
  const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [2592000, "day", 86400]];
  for (const [limit, unit, size] of steps) {
    if (Math.abs(seconds) < limit) return ago.format(Math.trunc(seconds / size), unit);
  }
  return "";
}

function showTime(node) {
  const at = new Date(node.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const only = node.dataset.time;
  const zone = utc ? { timeZone: "UTC" } : {};
  const mark = utc ? " UTC" : "";
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric", ...zone }).format(at);
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: only === "clock" ? "2-digit" : undefined, ...zone }).format(at);
  node.title = at.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
  if (only === "clock") { node.textContent = clock + mark; return; }
  if (only === "date") { node.textContent = day; return; }
  node.textContent = day + ", " + clock + mark;
  const distance = since(at);
  if (distance) {
    const part = document.createElement("span");
    part.className = "ago";
    part.textContent = " · " + distance;
    node.append(part);
  }
}

function showTimes(root) { root.querySelectorAll("time[data-time]").forEach(showTime); }

// ---- Small helps

function say(text) {
  let place = document.getElementById("said");
  if (!place) {
    place = document.createElement("div");
    place.id = "said";
    place.className = "unseen";
    place.setAttribute("role", "status");
    document.body.append(place);
  }
  place.textContent = text;
}

function wake(root) {
  showTimes(root);
  root.querySelectorAll("[data-copy], [data-reveal], [data-print], [data-back], [data-zone]").forEach((node) => { node.hidden = false; });
}

const tests = {
  length: (s) => Array.from(s).length >= 12,
  upper: (s) => /\p{Lu}/u.test(s),
  lower: (s) => /\p{Ll}/u.test(s),
  digit: (s) => /\p{Nd}/u.test(s),
  symbol: (s) => /[^\p{L}\p{N}\s]/u.test(s),
};

function markRules(field) {
  const list = document.querySelector(`[data-rules="${field.id}"]`);
  if (!list) return;
  list.querySelectorAll("[data-rule]").forEach((rule) => {
    const test = tests[rule.dataset.rule];
    if (!test) return;
    if (test(field.value)) rule.dataset.met = "true"; else delete rule.dataset.met;
  });
}

document.addEventListener("input", (event) => { if (event.target.id) markRules(event.target); });

document.addEventListener("click", async (event) => {
  const node = event.target.closest("[data-copy], [data-reveal], [data-print], [data-back], [data-zone]");
  if (!node) return;
  if ("copy" in node.dataset) {
    const label = node.querySelector("span");
    const before = label.textContent;
    let done = "Copied";
    try { await navigator.clipboard.writeText(node.dataset.copy); } catch { done = "Not copied: select it by hand"; }
    label.textContent = done;
    say(done);
    setTimeout(() => { label.textContent = before; }, 2500);
  } else if ("reveal" in node.dataset) {
    const field = document.getElementById(node.dataset.reveal);
    const hidden = field.type === "password";
    field.type = hidden ? "text" : "password";
    node.firstChild.textContent = hidden ? "Hide" : "Show";
  } else if ("print" in node.dataset) {
    print();
  } else if ("back" in node.dataset) {
    history.back();
  } else {
    utc = !utc;
    try { localStorage.setItem(zoneKey, utc ? "1" : "0"); } catch { /* then only this page knows */ }
    showZone();
    showTimes(document);
  }
});

function showZone() {
  document.querySelectorAll("[data-zone]").forEach((node) => { node.textContent = utc ? "Show times in my zone" : "Show times in UTC"; });
}

// ---- Receipts as they arrive: the region is fetched again until it stops asking for it.

const pace = { first: 700, slowest: 5000 };

function live(region, wait) {
  setTimeout(async () => {
    if (!region.isConnected) return;
    try {
      const answer = await fetch(region.dataset.live, { headers: { Accept: "text/html" }, cache: "no-store", redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body.firstElementChild;
      if (!fresh) throw new Error("empty");
      const next = document.adoptNode(fresh);
      if (!next.dataset.live) { location.reload(); return; } // all is said: the page around it has new words too
      const closed = (node) => node.querySelectorAll(".receipt--closed").length;
      if (closed(next) === closed(region)) { live(region, Math.min(wait * 1.3, pace.slowest)); return; }
      const focused = region.contains(document.activeElement);
      next.open = region.open;
      region.replaceWith(next);
      wake(next);
      if (focused) next.querySelector("summary")?.focus();
      live(next, pace.first);
    } catch {
      live(region, Math.min(wait * 2, pace.slowest)); // offline or refused: ask again, more slowly
    }
  }, wait);
}

// ---- Offline: say so, and never let a press look sent when it was not.

const offline = document.getElementById("offline");

function connection() { if (offline) offline.hidden = navigator.onLine; }

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!navigator.onLine) {
    event.preventDefault();
    unsent(form, event.submitter);
    return;
  }
  if (form.dataset.sent) { event.preventDefault(); return; } // one press is one press
  form.dataset.sent = "1";
  const button = event.submitter;
  if (button) button.setAttribute("aria-busy", "true");
});

function unsent(form, button) {
  let note = form.querySelector("[data-unsent]");
  if (!note) {
    note = document.createElement("p");
    note.dataset.unsent = "";
    note.className = "banner__unsent";
    note.setAttribute("role", "alert");
    form.append(note);
  }
  const waits = "press" in form.dataset;
  note.textContent = waits
    ? "Not sent yet. You are offline and nothing is frozen by this press so far. Keep this page open: it is sent the moment the connection is back."
    : "Not sent. You are offline. Press again when the connection is back.";
  if (waits && !form.dataset.waiting) {
    form.dataset.waiting = "1";
    addEventListener("online", () => {
      note.textContent = "The connection is back. Sending now.";
      delete form.dataset.waiting;
      form.requestSubmit(button || undefined);
    }, { once: true });
  }
}

// A page shown again from the back-forward cache may be pressed again.
addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-sent]").forEach((form) => { delete form.dataset.sent; });
  document.querySelectorAll("[aria-busy]").forEach((node) => { node.removeAttribute("aria-busy"); });
});
addEventListener("online", connection);
addEventListener("offline", connection);

// ---- Begin

wake(document);
showZone();
connection();
document.querySelectorAll("[data-live]").forEach((region) => live(region, pace.first));
document.querySelectorAll("input[type=password]").forEach(markRules);
const summary = document.querySelector("[data-focus]");
if (summary) summary.focus();
setInterval(() => showTimes(document), 30000);
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register("/worker.js").catch(() => { /* the pages work without it */ });
}
