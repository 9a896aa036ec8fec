// The worker keeps the emergency page for times without a connection, and answers a press
// that did not get through with a page that says so. It keeps nothing that is about a person.
"use strict";

const keep = "holdfast {holdfast.css} {holdfast.js}";
const emergency = "/emergency";
const unsent = "/offline";
const files = [emergency, unsent, "{holdfast.css}", "{holdfast.js}", "{mark.svg}"];

addEventListener("install", (event) => {
  event.waitUntil(caches.open(keep)
    .then((cache) => cache.addAll(files.map((file) => new Request(file, { cache: "reload", credentials: "omit" }))))
    .then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(caches.keys()
    .then((all) => Promise.all(all.filter((name) => name !== keep).map((name) => caches.delete(name))))
    .then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== location.origin) return;
  if (event.request.mode === "navigate") {
    event.respondWith(fetch(event.request).catch(() => kept(event.request.method === "GET" && url.pathname === emergency ? emergency : unsent)));
  } else if (event.request.method === "GET" && files.includes(url.pathname)) {
    event.respondWith(fetch(event.request).catch(() => kept(url.pathname)));
  }
});

async function kept(path) {
  const cache = await caches.open(keep);
  return (await cache.match(path)) || Response.error();
}
