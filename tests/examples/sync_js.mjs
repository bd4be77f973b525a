// What sync.js does with a real server and a bad network: `node sync_js.mjs <folder of sync.js> <url>
// <scenario> <seed>`. The way of each request can be cut before it is sent or before it is answered.
// Prints one line of JSON; exit code 1 when something is not as it should be.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const [folder, url, scenario, seed = "1"] = process.argv.slice(2);

// --- What a browser has and node has not ---

const stored = new Map();
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
  removeItem: (key) => stored.delete(key),
};
globalThis.document = { baseURI: url, hidden: false };
globalThis.addEventListener = () => {};
console.warn = (text, error) => assert.fail(`${text} ${error?.stack}`);

const realTimeout = setTimeout;
const pauses = []; // what the client wanted to wait; it waits a hundredth of it
globalThis.setTimeout = (work, ms, ...more) => {
  pauses.push(ms);
  return realTimeout(work, ms / 100, ...more);
};

const realFetch = fetch;
const sent = []; // [path, body] of every request that reached the server
let before = () => {}; // may throw, or answer in place of the server
let after = () => {}; // may throw: the server has done it, the answer is lost
globalThis.fetch = async (address, options) => {
  const path = address.pathname + address.search;
  const instead = await before(path, options);
  if (instead instanceof Response) return instead;
  const answer = await realFetch(instead ?? address, options);
  sent.push([path, options.body && JSON.parse(options.body)]);
  await after(path);
  return answer;
};
const lost = () => {
  throw new TypeError("the network is gone");
};

const { call, newId, savedAccount, signInAsGuest, Sync } = await import(
  pathToFileURL(`${folder}/sync.js`)
);

// --- Steps ---

const NAME = "app";
const until = async (what) => {
  for (let tries = 0; !(await what()); tries++) {
    if (tries > 3000) assert.fail(`never came true: ${what}`);
    await new Promise((resolve) => realTimeout(resolve, 10));
  }
};
const quiet = (sync) =>
  until(() => sync.state === "live" && !sync.status.pending && !sync.isSettling());
const server = (method, path, body) =>
  realFetch(new URL(path, url), {
    method,
    headers: { Authorization: `Bearer ${savedAccount(NAME).token}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  }).then((answer) => answer.json());
async function rowsOnServer() {
  const rows = [];
  for (let after = ""; after !== null; ) {
    const page = await server("GET", `api/entities/Todo/cursor?limit=100&after=${after}`);
    rows.push(...page.data);
    after = page.has_more ? page.next_cursor : null;
  }
  return rows;
}
const byId = (rows) => Object.fromEntries(rows.map((row) => [row.id, row]));
async function opened(more = {}) {
  await signInAsGuest(NAME);
  const sync = new Sync({ name: NAME, ...more });
  // Nothing that was taken still waits for its event: what is shown is what the server sent.
  sync.isSettling = () => sync.all("Todo").some((row) => !row.createdAt);
  await sync.start();
  return sync;
}
const pushes = () => sent.filter(([path]) => path === "/api/sync/push").map(([, body]) => body.changes);

const scenarios = {
  async order() {
    const sync = await opened();
    const ids = Array.from({ length: 1200 }, (_, number) => sync.insert("Todo", { title: `${number}` }));
    sync.update("Todo", ids[7], { done: true });
    sync.remove("Todo", ids[8]);
    assert.equal(sync.all("Todo").length, 1199, "shown at once");
    assert.equal(sync.get("Todo", ids[7]).done, true);
    await quiet(sync);
    const rows = await rowsOnServer();
    assert.deepEqual(rows.map((row) => row.title), ids.map((_, n) => `${n}`).filter((n) => n !== "8"));
    assert.ok(pushes().every((changes) => changes.length <= 500));
    assert.deepEqual([...ids].sort(), ids, "ids rise");
    sync.stop();
  },

  /** Whatever the network does, the server has all that was done here, once and in order. */
  async chaos() {
    let state = Number(seed);
    const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
    const sync = await opened();
    const bad = (path) => (random() < 0.3 ? lost(path) : undefined);
    before = bad;
    after = bad;
    const expected = new Map();
    for (let step = 0; step < 60; step++) {
      const ids = [...expected.keys()];
      const id = ids[Math.floor(random() * ids.length)];
      const kind = random();
      if (kind < 0.5 || !id) {
        expected.set(sync.insert("Todo", { title: `step ${step}` }), `step ${step}`);
      } else if (kind < 0.8) {
        sync.update("Todo", id, { title: `step ${step}` });
        expected.set(id, `step ${step}`);
      } else {
        sync.remove("Todo", id);
        expected.delete(id);
      }
      if (random() < 0.1) sync.check();
      await new Promise((resolve) => realTimeout(resolve, random() * 20));
      const titles = Object.fromEntries(sync.all("Todo").map(({ id, title }) => [id, title]));
      assert.deepEqual(titles, Object.fromEntries(expected), "what is shown is what was done");
    }
    before = after = () => {};
    await quiet(sync);
    assert.deepEqual(sync.status.refused, []);
    const rows = await rowsOnServer();
    const titles = Object.fromEntries(rows.map(({ id, title }) => [id, title]));
    assert.deepEqual(titles, Object.fromEntries(expected));
    assert.deepEqual(byId(sync.all("Todo")), byId(rows));
    sync.stop();
  },

  async refused() {
    const sync = await opened();
    before = lost;
    const good = sync.insert("Todo", { title: "good" });
    const bad = sync.insert("Todo", { title: "bad", ownerId: "somebody else" });
    sync.update("Todo", bad, { done: true });
    const last = sync.insert("Todo", { title: "last" });
    assert.equal(sync.all("Todo").length, 3);
    await until(() => sync.state === "offline");
    before = () => {};
    sync.check();
    await quiet(sync);
    assert.deepEqual(sync.all("Todo").map((row) => row.id).sort(), [good, last].sort(), "undone");
    const [refusal, ...more] = sync.status.refused;
    assert.deepEqual(more, [], "what was done to the row that is not there is not told apart");
    assert.equal(refusal.data.title, "bad");
    assert.ok(refusal.message && !refusal.message.startsWith("insert"), refusal.message);
    await sync.retry(refusal, { title: "better" });
    await quiet(sync);
    assert.deepEqual(sync.status.refused, []);
    assert.equal(sync.get("Todo", bad).title, "better");
    assert.equal((await rowsOnServer()).length, 3);
    sync.stop();
  },

  async gone() {
    const sync = await opened();
    const [one, two] = ["one", "two"].map((title) => sync.insert("Todo", { title }));
    await quiet(sync);
    before = (path) => (path.includes("push") ? lost() : undefined);
    sync.remove("Todo", one);
    sync.update("Todo", two, { done: true });
    for (const id of [one, two]) await server("DELETE", `api/entities/Todo/${id}`);
    await until(() => sync.state === "offline");
    before = () => {};
    sync.check();
    await quiet(sync);
    const { refused } = sync.status;
    assert.deepEqual(refused.map((op) => op.kind), ["update"], "a delete of what is gone is done");
    await sync.dismiss(refused[0]);
    assert.deepEqual(sync.status.refused, []);
    assert.deepEqual(sync.all("Todo"), []);
    sync.stop();
  },

  /** One change that no request can carry does not hold up the others. */
  async unsendable() {
    const sync = await opened();
    sync.insert("Todo", { title: "first" });
    sync.insert("Todo", { title: "x".repeat(11_000_000) });
    sync.insert("Todo", { title: "last" });
    await quiet(sync);
    assert.deepEqual((await rowsOnServer()).map((row) => row.title), ["first", "last"]);
    assert.equal(sync.status.refused.length, 1);
    sync.stop();
  },

  async expired() {
    let told;
    const sync = await opened({ onSignedOut: (what) => (told = what) });
    before = lost;
    sync.insert("Todo", { title: "unsent" });
    await until(() => sync.state === "offline");
    await server("DELETE", "api/auth/session");
    before = () => {};
    sync.check();
    await until(() => told);
    assert.deepEqual(told.unsent.map((op) => op.data.title), ["unsent"]);
    assert.equal(savedAccount(NAME), null);
    assert.deepEqual(pushes().flat(), [], "nothing is sent as nobody");
  },

  /** The server's changes since the cursor are gone: the rows are fetched anew. */
  async resync() {
    const sync = await opened();
    for (let n = 0; n < 3; n++) sync.insert("Todo", { title: `${n}` });
    await quiet(sync);
    const [gone, ...left] = sync.all("Todo");
    before = lost;
    sync.insert("Todo", { title: "waits" });
    await until(() => sync.state === "offline");
    await server("DELETE", `api/entities/Todo/${gone.id}`);
    before = (path) => {
      if (!/since=[1-9]/.test(path)) return undefined;
      before = () => {};
      return new URL("api/sync/pull?since=999999999", url); // which the server answers by 410
    };
    sync.check();
    await quiet(sync);
    assert.ok(sent.some(([path]) => path.endsWith("pull?since=0")));
    assert.equal(sync.get("Todo", gone.id), undefined);
    assert.deepEqual(byId(sync.all("Todo")), byId(await rowsOnServer()));
    assert.equal(sync.all("Todo").length, left.length + 1);
    sync.stop();
  },

  /** A server that tells each change's own position and refusal: then those count. */
  async results() {
    const sync = await opened();
    before = async (path, options) => {
      if (!path.includes("push")) return undefined;
      const body = await (await realFetch(new URL(path, url), options)).json();
      body.results = JSON.parse(options.body).changes.map((_, place) =>
        place < body.applied
          ? { status: "applied", seq: body.cursor.last_seq }
          : { status: "error", error: { code: "FORBIDDEN", message: "in its own words" } },
      );
      body.cursor.last_seq = Number.MAX_SAFE_INTEGER; // if this counted, nothing would settle
      return new Response(JSON.stringify(body));
    };
    const good = sync.insert("Todo", { title: "good" });
    sync.insert("Todo", { title: "bad", ownerId: "somebody else" });
    await quiet(sync);
    await until(() => sync.status.refused.length);
    assert.equal(sync.status.refused[0].message, "in its own words");
    assert.deepEqual(sync.all("Todo").map((row) => row.id), [good]);
    sync.stop();
  },

  /** Its event never comes, so it is shown until a pull says that there is nothing to wait for. */
  async unseen() {
    const sync = await opened();
    const id = sync.insert("Feedback", { text: "written, never read" });
    assert.equal(sync.get("Feedback", id).text, "written, never read");
    await until(() => !sync.get("Feedback", id));
    assert.deepEqual(sync.status.refused, []);
    assert.equal(pushes().flat().length, 1);
    sync.stop();
  },

  async stopped() {
    await signInAsGuest(NAME);
    const early = new Sync({ name: NAME });
    const starting = early.start();
    early.stop();
    await starting;
    assert.throws(() => early.insert("Todo", { title: "too late" }));
    const sync = await opened();
    const id = sync.insert("Todo", { title: "as the window closes" });
    sync.stop();
    assert.ok(id);
  },

  async backoff() {
    const sync = await opened();
    pauses.length = 0;
    before = (path) =>
      path.includes("push")
        ? new Response("{}", { status: 429, headers: { "Retry-After": "77" } })
        : undefined;
    sync.insert("Todo", { title: "patient" });
    await until(() => pauses.some((ms) => ms >= 77_000));
    sync.stop();
    const again = new Sync({ name: NAME });
    before = lost;
    pauses.length = 0;
    await again.start();
    await until(() => pauses.filter((ms) => ms !== undefined).length > 12);
    assert.ok(pauses.every((ms) => ms <= 30_000));
    assert.ok(new Set(pauses).size > 10, "no two clients come at once");
    again.stop();
  },

  async renewed() {
    const sync = await opened();
    sync.stop();
    const old = savedAccount(NAME);
    localStorage.setItem("app:account", JSON.stringify({ ...old, renewedAt: 0 }));
    const again = new Sync({ name: NAME });
    await again.start();
    assert.notEqual(savedAccount(NAME).token, old.token);
    again.insert("Todo", { title: "with the new token" });
    await until(async () => (await rowsOnServer()).length === 1);
    again.stop();
  },

  async ids() {
    const ids = Array.from({ length: 10_000 }, newId);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual([...ids].sort(), ids);
    for (const id of ids) {
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
  },

  async pairing() {
    const sync = await opened();
    const { url: link, expiresAt } = await sync.pairingLink();
    assert.ok(expiresAt > new Date());
    const code = new URL(link).hash.slice("#pair=".length);
    const answer = await call("POST", "api/auth/pair/redeem", { body: { code } });
    assert.equal(answer.user_id, sync.userId);
    sync.stop();
  },
};

await scenarios[scenario]();
console.log(JSON.stringify({ scenario, requests: sent.length }));
process.exit(0);
