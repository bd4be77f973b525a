// Keeps the page itself, so that it opens without a network. Rows are kept by sync.js, not here.
// The network is asked first, so a new version of a file is seen at the next load.

const CACHE = "todo-app:page";
const FILES = ["./", "app.js", "sync.js", "sync-disk.js", "tour.js", "style.css", "icon.svg"];
const NETWORK_MS_MAX = 4_000; // a network that is there and does not answer is none

const addresses = new Set(FILES.map((file) => new URL(file, registration.scope).href));

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});

addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  address.search = address.hash = "";
  if (request.method === "GET" && addresses.has(address.href)) {
    event.respondWith(answer(request, address.href));
  }
  if (request.mode === "navigate") event.waitUntil(leaveIfGone());
});

async function answer(request, key) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(NETWORK_MS_MAX) });
    if (response.ok) await cache.put(key, response.clone());
    if (response.status < 500) return response;
  } catch {
    // no network: what is kept
  }
  return (await cache.match(key)) ?? Response.error();
}

/** Another app is served at this address by now: it must not meet our pages. */
async function leaveIfGone() {
  const { status } = await fetch("sw.js", { method: "HEAD", cache: "no-store" }).catch(() => ({}));
  if (status !== 404) return;
  await caches.delete(CACHE);
  await registration.unregister();
}
