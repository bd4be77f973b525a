// A copy of the rows this user may see, kept in the browser, and a queue of the changes made here.
//
// Reads and writes are answered at once from the copy, with and without a network; a change is sent
// when the server can be reached, once and in order, and undone where the server refuses it. Several
// windows share the copy and the queue. Nothing in this file knows of the page.
// How to use it, and what it promises: docs/sync-js.md of Pylon.

import { Disk, Memory } from "./sync-disk.js";

const BASE = new URL(".", document.baseURI); // works below a prefix too, not only at /

const ANSWER_MS_MAX = 30_000; // a request without an answer has failed
const OPEN_MS_MAX = 10_000; // and so has a socket that does not open
const RETRY_MS_MIN = 1_000; // the pause after a first failure is up to this, then twice as much...
const RETRY_MS_MAX = 30_000; // ...up to this; always random, so that not all clients come at once
const STEADY_MS = 5_000; // a socket that stayed open for so long was no failure
const SILENCE_MS_MAX = 45_000; // after this, ask whether the connection is still alive
const SETTLE_MS = 2_000; // how long to wait for the event of a change that the server has taken
const REFRESH_MS = 86_400_000; // sessions last 30 days; one that is used is renewed each day
const PENDING_MAX = 10_000; // changes that may wait
const PUSH_MAX = 500; // changes of one request
const PUSH_CHARACTERS_MAX = 1_000_000;

export class ApiError extends Error {
  constructor(status, code, message, retryMs = 0) {
    super(message);
    Object.assign(this, { status, code, retryMs });
  }
}

/** Call the server: the parsed answer, or an ApiError with a sentence for people. */
export async function call(method, path, { token, body } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response, answer;
  try {
    response = await fetch(new URL(path, BASE), {
      method,
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    answer = JSON.parse((await response.text()) || "{}");
  } catch {
    if (!response || response.ok) {
      throw new ApiError(0, "UNREACHABLE", "The server cannot be reached.");
    }
  }
  if (response.ok) return answer;
  const { code = "UNKNOWN", message = `The server answered ${response.status}.` } =
    answer?.error ?? {};
  const seconds = Number(response.headers.get("Retry-After")) || 0;
  throw new ApiError(response.status, code, message, 1000 * seconds);
}

// --- The account: which user this browser is -----------------------------------------------------

const accountKey = (name) => `${name}:account`;

/** `{token, userId, renewedAt}` of whoever is signed in to this app in this browser, or null. */
export function savedAccount(name) {
  return JSON.parse(localStorage.getItem(accountKey(name)));
}

/** Remember who is signed in; `answer` is that of any route that makes a session. */
export function saveAccount(name, { token, user_id: userId }) {
  localStorage.setItem(accountKey(name), JSON.stringify({ token, userId, renewedAt: Date.now() }));
}

/** Be told when another window of this browser signs in or out. */
export function watchAccount(name, told) {
  addEventListener("storage", ({ key, oldValue, newValue }) => {
    if (key !== accountKey(name) && key !== null) return;
    const user = (text) => (text ? JSON.parse(text).userId : undefined);
    if (key === null || user(oldValue) !== user(newValue)) told(); // not for a renewed token
  });
}

export async function signInAsGuest(name) {
  saveAccount(name, await call("POST", "api/auth/guest"));
}

/** Join the account of another browser by the code of its `pairingLink`. The copy that is open here,
 * if any, is closed and its session ended, unless it is of that very account. */
export async function redeemPairing(name, code, open) {
  const answer = await call("POST", "api/auth/pair/redeem", { body: { code } });
  if (open?.userId === answer.user_id) {
    await call("DELETE", "api/auth/session", { token: answer.token });
    return;
  }
  await open?.signOut().catch(() => {});
  saveAccount(name, answer);
}

// --- The copy ------------------------------------------------------------------------------------

/**
 * The rows of one user. Everything is asked of memory; the disk is for the next visit.
 *
 * onRows(changed) is told what may look different: a Map of entity → Set of ids.
 * onStatus({state, pending, refused, isStored, latencyMs}): state is "connecting", "live" or
 *   "offline"; pending counts changes the server has not taken; refused lists those it refused.
 * onSignedOut({unsent}): the server no longer knows this session, or knows another user by it. The
 *   copy is gone; changes that were not sent stay on disk until the same user signs in here.
 */
export class Sync {
  cursor = 0; // the position in the server's log up to which the copy is complete
  state = "connecting";
  latencyMs; // from a change here until the server had stored it, the last time
  isStored = true; // whether the copy outlives this window

  #rows = new Map(); // entity → id → row, as the server sent them
  #shown = new Map(); // the same with the changes of #queue on top
  #queue = []; // in the order in which they were made; `state` is pending, sent or refused
  #done = new Set(); // op ids that are out of the queue here, but may still be on disk
  #changed = new Map();
  #unsaved = new Map(); // rows that are newer than on disk
  #savedCursor = 0;
  #byRow; // the queue by row, made when it is asked for
  #disk;
  #opened;
  #line = new Promise((resolve) => (this.#opened = resolve)); // one after another, see #inLine
  #failures = 0;
  #heardAt = 0;
  #triedAt = 0;
  #stopped = false;
  #connecting = false;
  #socket;
  #openedAt = Infinity; // when it opened
  #held; // events that wait for the end of a pull
  #pulling;
  #pushing;
  #settled = []; // changes that are done, still on disk
  #saving = false;
  #reading; // the cursor of other windows up to which the queue is to be read
  #telling = false;
  #tabs;
  #timer; // until the next try
  #settling;
  #helping;
  #watch;

  constructor({ name, onRows = () => {}, onStatus = () => {}, onSignedOut = () => {} }) {
    Object.assign(this, { name, onRows, onStatus, onSignedOut });
    this.userId = savedAccount(name).userId;
    this.place = `${name}:${this.userId}`;
  }

  // --- Reading and writing ---

  /** The rows of one entity, in no order. */
  all(entity) {
    return [...(this.#shown.get(entity)?.values() ?? [])];
  }

  get(entity, id) {
    return this.#shown.get(entity)?.get(id);
  }

  /** Whether the server does not have all of what is shown of this row. */
  isPending(entity, id) {
    return this.#of(entity, id).some((op) => op.state === "pending");
  }

  /** Add a row; its id, which is the one that it keeps. */
  insert(entity, data) {
    const id = newId();
    this.#add({ kind: "insert", entity, id, data });
    return id;
  }

  update(entity, id, data) {
    this.#add({ kind: "update", entity, id, data });
  }

  remove(entity, id) {
    this.#add({ kind: "delete", entity, id });
  }

  /** Send a refused change again, as a new one; `data` instead of what it had. */
  async retry({ opId, kind, entity, id, data }, instead = data) {
    this.#add({ kind, entity, id, data: instead });
    await this.dismiss({ opId });
  }

  /** Forget a refused change. */
  dismiss({ opId }) {
    return this.#inLine(async () => {
      await this.#removeFromDisk(this.#take([opId]));
      this.#tellTabs();
    });
  }

  get status() {
    const count = (state) => this.#queue.filter((op) => op.state === state);
    return {
      state: this.state,
      pending: count("pending").length,
      refused: count("refused"),
      isStored: this.isStored,
      latencyMs: this.latencyMs,
    };
  }

  #add(change) {
    if (this.#stopped) throw new Error("This copy is closed.");
    if (this.#queue.length >= PENDING_MAX) throw new Error("Too many changes are waiting.");
    const op = { ...change, opId: newId(), state: "pending", at: Date.now() };
    this.#queue.push(op);
    if (this.#byRow) pushTo(this.#byRow, op);
    this.#touch(op.entity, op.id);
    this.#inLine(async () => {
      try {
        op.key = await this.#disk.add(op); // before it is sent: then it is safe to send it again
      } catch {
        Object.assign(op, { state: "refused", message: "This browser has no room to keep it." });
        this.#touch(op.entity, op.id);
      }
      this.#tellTabs();
    }).then(() => this.#flush());
  }

  // --- What is shown ---

  #setQueue(queue) {
    this.#queue = queue;
    this.#byRow = undefined;
  }

  /** The changes of one row. */
  #of(entity, id) {
    if (!this.#byRow) {
      this.#byRow = new Map();
      for (const op of this.#queue) pushTo(this.#byRow, op);
    }
    return this.#byRow.get(`${entity} ${id}`) ?? [];
  }

  #touch(entity, id) {
    let row = this.#rows.get(entity)?.get(id);
    for (const op of this.#of(entity, id)) {
      if (op.state === "refused") continue;
      if (op.kind === "delete") row = undefined;
      else if (row || op.kind === "insert") row = { ...row, ...op.data, id };
    }
    const table = tableOf(this.#shown, entity);
    if (row) table.set(id, row);
    else table.delete(id);
    if (!this.#changed.has(entity)) this.#changed.set(entity, new Set());
    this.#changed.get(entity).add(id);
    this.#tell();
  }

  /** Call back once for all that happens in one go. */
  #tell() {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      if (this.#stopped) return;
      const changed = this.#changed;
      this.#changed = new Map();
      if (changed.size) this.onRows(changed);
      this.onStatus(this.status);
    });
  }

  /** Take changes out of the queue; those that may be on disk. */
  #take(opIds) {
    const going = new Set(opIds);
    const gone = this.#queue.filter((op) => going.has(op.opId));
    if (!gone.length) return [];
    this.#setQueue(this.#queue.filter((op) => !going.has(op.opId)));
    const stored = gone.filter((op) => op.key !== undefined);
    for (const { opId } of stored) this.#done.add(opId);
    for (const { entity, id } of gone) this.#touch(entity, id);
    return stored;
  }

  async #removeFromDisk(ops) {
    if (ops.length) await this.#disk.remove(ops);
    for (const { opId } of ops) this.#done.delete(opId);
  }

  // --- The life of the connection ---

  /** Show what is on disk, then connect and stay connected. */
  async start() {
    let found;
    try {
      this.#disk = await Disk.open(this.place);
      found = await this.#disk.load();
    } catch {
      this.#disk = new Memory(); // a private window, or a browser without room
      this.isStored = false;
      found = await this.#disk.load();
    }
    const { cursor, rows, queue } = found;
    this.cursor = this.#savedCursor = cursor;
    for (const [entity, id, row] of rows) tableOf(this.#rows, entity).set(id, row);
    this.#setQueue([...queue, ...this.#queue]);
    for (const [entity, id] of [...rows, ...this.#queue.map((op) => [op.entity, op.id])]) {
      this.#touch(entity, id);
    }
    this.#opened();
    if (this.#stopped) return;
    this.#tabs = new BroadcastChannel(this.place);
    this.#tabs.onmessage = ({ data }) => this.#readQueueSoon(data.cursor);
    this.#tabs.unref?.(); // node: it keeps no process alive
    this.#watch = setInterval(() => globalThis.document?.hidden || this.check(), SILENCE_MS_MAX);
    await this.#connect();
  }

  /** Close the copy; what waits is sent at the next start. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#settling);
    clearTimeout(this.#helping);
    clearInterval(this.#watch);
    this.#tabs?.close();
    this.#hangUp();
    this.#inLine(() => this.#disk.close());
  }

  /** End the session on the server, and forget everything here. Fails without the server. */
  async signOut() {
    await this.#call("DELETE", "api/auth/session");
    await this.#forget();
  }

  /** `{url, expiresAt}`: a link for another browser to join this account, good once. */
  async pairingLink() {
    const { code, expires_at } = await this.#call("POST", "api/auth/pair");
    return { url: new URL(`#pair=${code}`, BASE).href, expiresAt: new Date(expires_at * 1000) };
  }

  /** Find out now whether the server is there: call it when the network or the window is back. */
  check() {
    if (this.state !== "live") {
      if (this.#timer) this.#connect();
    } else if (Date.now() - this.#heardAt > SILENCE_MS_MAX || globalThis.navigator?.onLine === false) {
      this.#pull().catch((error) => this.#lost(error));
    }
  }

  async #connect() {
    if (this.#stopped || this.#connecting) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#connecting = true;
    this.#triedAt = Date.now();
    try {
      if (!(await this.#isSignedIn())) return await this.#signedOut();
      await this.#push();
      await this.#pull();
      if (!this.#stopped) await this.#listen();
    } catch (error) {
      this.#lost(error);
    } finally {
      this.#connecting = false;
    }
    if (this.state === "live") this.#flush(); // what was added meanwhile
  }

  /** Follow the live events; the server sends what came after the cursor first. */
  #listen() {
    const url = new URL(`ws?since=${this.cursor}`, BASE);
    url.protocol = url.protocol.replace("http", "ws");
    const { token = "" } = savedAccount(this.name) ?? {}; // signed out just now: the server says so
    const socket = new WebSocket(url, [`bearer.${encodeURIComponent(token)}`]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      this.#heardAt = Date.now();
      const event = JSON.parse(data);
      if (!event.seq || !event.entity || !event.kind) return;
      if (this.#held) this.#held.push(event);
      else this.#live([event]);
    };
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => socket.onclose(), OPEN_MS_MAX);
      socket.onopen = () => {
        clearTimeout(late);
        this.#openedAt = this.#heardAt = Date.now();
        this.#setState("live");
        resolve();
      };
      socket.onclose = ({ code } = {}) => {
        clearTimeout(late);
        if (this.#socket !== socket) return;
        const error = new ApiError(0, `CLOSED_${code}`, "The connection was closed.");
        if (this.#openedAt === Infinity) reject(error);
        else this.#lost(error);
      };
    });
  }

  #hangUp() {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) socket.onmessage = null;
    socket?.close();
  }

  /** Come back later: soon at first, then less and less often. */
  #lost(error) {
    this.#hangUp();
    if (this.#stopped || this.#timer) return;
    if (!(error instanceof ApiError)) console.error(error); // a mistake of this file
    if (Date.now() - this.#openedAt >= STEADY_MS) this.#failures = 0;
    this.#openedAt = Infinity;
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.#failures++);
    const pause = (error.retryMs ?? 0) + Math.random() * longest;
    this.#setState("offline");
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #setState(state) {
    this.state = state;
    this.#tell();
  }

  async #call(method, path, body) {
    const account = savedAccount(this.name); // another window may have renewed the token
    if (account?.userId !== this.userId) throw new ApiError(401, "SIGNED_OUT", "Signed out.");
    const answer = await call(method, path, { token: account.token, body });
    this.#heardAt = Date.now();
    return answer;
  }

  async #isSignedIn() {
    if (savedAccount(this.name)?.userId !== this.userId) return false;
    const { user_id } = await this.#call("GET", "api/auth/me");
    if (user_id !== this.userId) {
      // Nobody any more, or the session was given another user: then the page starts as that one.
      const account = savedAccount(this.name);
      if (user_id && account) saveAccount(this.name, { token: account.token, user_id });
      return false;
    }
    await alone(`${this.name}:renew`, async () => {
      const { renewedAt } = savedAccount(this.name) ?? {};
      if (Date.now() - renewedAt < REFRESH_MS) return;
      saveAccount(this.name, await this.#call("POST", "api/auth/refresh"));
    });
    return true;
  }

  async #signedOut() {
    const unsent = this.#queue.filter((op) => op.state === "pending");
    await this.#forget({ keepQueue: unsent.length > 0 });
    this.onSignedOut({ unsent });
  }

  async #forget({ keepQueue = false } = {}) {
    const cleared = this.#inLine(() => this.#disk.clear({ keepQueue }));
    this.stop();
    await cleared;
    if (savedAccount(this.name)?.userId === this.userId) {
      localStorage.removeItem(accountKey(this.name));
    }
  }

  // --- From the server ---

  /** Fetch every change after the cursor, page by page. Events of the socket wait meanwhile. */
  #pull() {
    return (this.#pulling ??= this.#pullAll().finally(() => {
      this.#pulling = undefined;
      const held = this.#held ?? [];
      this.#held = undefined;
      this.#live(held);
    }));
  }

  async #pullAll() {
    this.#held = [];
    const sent = this.#queue.filter((op) => op.state === "sent").map((op) => op.opId);
    let fresh; // the rows anew, once the server has said that ours cannot be brought up to date
    let since = this.cursor;
    for (let more = true; more && !this.#stopped; ) {
      let page;
      try {
        page = await this.#call("GET", `api/sync/pull?since=${since}`);
      } catch (error) {
        if (error.status !== 410 || since === 0) throw error;
        if (this.#socket) throw error; // a socket's events would move the cursor: without it, then
        fresh = new Map();
        since = 0;
        continue;
      }
      since = Math.max(since, page.cursor.last_seq);
      more = page.has_more;
      if (fresh) for (const change of page.changes) applyTo(fresh, change);
      else this.#takeIn(page.changes, since);
    }
    if (this.#stopped) return;
    if (fresh) await this.#replaceRows(fresh, since);
    this.#settle((op) => sent.includes(op.opId)); // their events have come, or never will
  }

  #live(events) {
    for (const event of events) this.#takeIn([event], event.seq);
  }

  /** Apply what is new of some events; the copy is complete up to `seq` then. */
  #takeIn(events, seq) {
    for (const event of events) {
      if (event.seq <= this.cursor) continue;
      const { entity, row_id: id } = event;
      applyTo(this.#rows, event);
      tableOf(this.#unsaved, entity).set(id, this.#rows.get(entity).get(id));
      this.#touch(entity, id);
      this.#settle((op) => op.id === id && !op.isExact);
    }
    this.cursor = Math.max(this.cursor, seq);
    this.#settle((op) => op.seq <= this.cursor);
    this.#save();
  }

  async #replaceRows(fresh, cursor) {
    const before = this.#rows;
    this.#rows = fresh;
    this.cursor = cursor;
    for (const rows of [before, fresh]) {
      for (const [entity, table] of rows) for (const id of table.keys()) this.#touch(entity, id);
    }
    await this.#inLine(async () => {
      this.#unsaved.clear();
      await this.#disk.replace(fresh, cursor);
      this.#savedCursor = cursor;
    });
  }

  /** Changes that the server has taken, and whose outcome is among the rows by now. */
  #settle(isOver) {
    const over = this.#queue.filter((op) => op.state === "sent" && isOver(op));
    if (!over.length) return;
    this.#settled.push(...this.#take(over.map((op) => op.opId)));
    this.#save();
  }

  /** Bring the disk up to date, once for all that has come until its turn. */
  #save() {
    if (this.#saving) return;
    this.#saving = true;
    this.#inLine(async () => {
      this.#saving = false;
      const rows = this.#unsaved;
      const settled = this.#settled;
      const { cursor } = this;
      this.#unsaved = new Map();
      this.#settled = [];
      const from = this.#savedCursor;
      this.#savedCursor = Infinity; // should it fail, the disk stays as it is: old, without gaps
      await this.#disk.advance(from, cursor, rows, settled);
      this.#savedCursor = from === Infinity ? from : cursor;
      for (const { opId } of settled) this.#done.delete(opId);
      if (settled.length) this.#tellTabs();
    });
  }

  // --- To the server ---

  async #flush() {
    if (this.#stopped) return;
    if (this.state !== "live") {
      // Somebody is at work: a good moment to look whether the server is back.
      if (this.#timer && Date.now() - this.#triedAt > 2 * RETRY_MS_MIN) this.#connect();
      return;
    }
    try {
      while (this.state === "live" && this.#queue.some((op) => op.state === "pending")) {
        await this.#push();
      }
    } catch (error) {
      this.#lost(error);
    }
  }

  /** Send what waits, in order; one window at a time, or what was refused could be sent twice. */
  #push() {
    return (this.#pushing ??= alone(`${this.place}:push`, () => this.#pushAll()).finally(() => {
      this.#pushing = undefined;
    }));
  }

  async #pushAll() {
    let most = PUSH_MAX;
    while (!this.#stopped) {
      await this.#inLine(() => this.#readQueue());
      const batch = firstOf(this.#queue.filter((op) => op.state === "pending" && op.key), most);
      if (!batch.length) return;
      let answer;
      try {
        answer = await this.#call("POST", "api/sync/push", { changes: batch.map(toWire) });
      } catch (error) {
        if (![400, 413, 422].includes(error.status)) throw error;
        most = Math.max(1, batch.length >> 1); // one of them cannot be sent: find it
        if (batch.length === 1) await this.#note(batch, { applied: 0, errors: [error.message] });
        continue;
      }
      if (!answer.applied && !answer.errors.length) {
        throw new ApiError(503, "NO_PROGRESS", "The server took nothing.");
      }
      most = PUSH_MAX;
      await this.#note(batch, answer);
    }
  }

  /** Keep what the server said of the changes that were sent. */
  #note(batch, { applied, errors, results = [], cursor }) {
    return this.#inLine(async () => {
      const told = new Map();
      let pointless = [];
      batch.slice(0, applied).forEach(({ opId }, place) => {
        const seq = results[place]?.seq;
        const isExact = seq !== undefined;
        told.set(opId, { state: "sent", seq: seq ?? cursor.last_seq, isExact });
      });
      const failed = errors.length ? batch[applied] : undefined;
      if (failed) {
        const message = results[applied]?.error?.message ?? withoutName(errors[0]);
        const isGone = failed.kind === "delete" && /^no such row/i.test(message);
        const seq = isGone ? 0 : undefined; // gone already: as it was wanted
        told.set(failed.opId, isGone ? { state: "sent", seq } : { state: "refused", message });
        if (failed.kind === "insert") {
          // What was done to the row after that has nothing left to be done to.
          const later = this.#of(failed.entity, failed.id).filter((op) => op.state === "pending");
          pointless = later.map((op) => op.opId).filter((opId) => opId !== failed.opId);
        }
      }
      await this.#removeFromDisk(this.#take(pointless));
      this.#setQueue(
        this.#queue.map((op) => (told.has(op.opId) ? { ...op, ...told.get(op.opId) } : op)),
      );
      await this.#disk.put(this.#queue.filter((op) => told.has(op.opId) && op.key !== undefined));
      if (applied) this.latencyMs = Date.now() - batch[applied - 1].at;
      for (const { entity, id } of batch) this.#touch(entity, id);
      this.#settle((op) => op.seq <= this.cursor);
      this.#tellTabs();
      clearTimeout(this.#settling);
      this.#settling = setTimeout(() => this.#lookForSent(), SETTLE_MS);
    });
  }

  /** No event has come: then the row is one that this user may not see, or somebody has hidden. */
  #lookForSent() {
    if (this.state !== "live" || !this.#queue.some((op) => op.state === "sent")) return;
    this.#pull().catch((error) => this.#lost(error));
  }

  // --- Several windows ---

  #tellTabs() {
    if (this.#stopped) return;
    this.#tabs?.postMessage({ cursor: this.cursor });
    this.#tell();
  }

  /** Once for all that other windows have told until its turn. */
  #readQueueSoon(cursor) {
    const isInLine = this.#reading !== undefined;
    this.#reading = Math.max(cursor, this.#reading ?? 0);
    if (!isInLine) this.#inLine(() => this.#readQueue());
    // The window in which a change was made sends it, unless it was closed or has no network.
    clearTimeout(this.#helping);
    this.#helping = setTimeout(() => this.#flush(), SETTLE_MS);
  }

  /** The queue as it is on disk. What has left it there was taken by the server, and another
   * window has seen its event; here it may be still to come. */
  async #readQueue() {
    const seq = this.#reading ?? 0;
    this.#reading = undefined;
    const stored = (await this.#disk.queue()).filter(({ opId }) => !this.#done.has(opId));
    const isStored = new Set(stored.map((op) => op.opId));
    const before = new Map(this.#queue.map((op) => [op.opId, op]));
    const kept = this.#queue.filter((op) => !isStored.has(op.opId));
    const left = kept.filter((op) => op.key !== undefined && op.state !== "refused");
    for (const op of left) Object.assign(op, { state: "sent", seq, key: undefined });
    const isDismissed = (op) => op.state === "refused" && op.key !== undefined;
    this.#setQueue([...stored, ...kept.filter((op) => !isDismissed(op))]);
    for (const op of [...stored, ...kept]) {
      if (before.get(op.opId)?.state !== op.state || !isStored.has(op.opId)) {
        this.#touch(op.entity, op.id);
      }
    }
    this.#settle((op) => op.seq <= this.cursor);
  }

  /** Do something with the disk, after what was begun before. */
  #inLine(work) {
    const done = this.#line.then(work);
    this.#line = done.catch((error) => {
      if (!this.#stopped) console.warn("The copy on disk could not be brought up to date.", error);
    });
    return done;
  }
}

// --- Rows and changes ----------------------------------------------------------------------------

function tableOf(rows, entity) {
  if (!rows.has(entity)) rows.set(entity, new Map());
  return rows.get(entity);
}

function pushTo(byRow, op) {
  const row = `${op.entity} ${op.id}`;
  if (byRow.has(row)) byRow.get(row).push(op);
  else byRow.set(row, [op]);
}

function applyTo(rows, { entity, row_id: id, kind, data }) {
  const table = tableOf(rows, entity);
  if (kind === "delete") table.delete(id);
  else table.set(id, { ...(kind === "update" && table.get(id)), ...data, id });
}

function toWire({ entity, id, kind, data, opId }) {
  return { entity, row_id: id, kind, data, op_id: opId };
}

/** As many of the first changes as one request may have, at least one. */
function firstOf(ops, most) {
  let left = PUSH_CHARACTERS_MAX;
  const end = ops.slice(0, most).findIndex((op, place) => {
    left -= JSON.stringify(op.data ?? null).length + 200;
    return left < 0 && place > 0;
  });
  return ops.slice(0, end < 0 ? most : end);
}

/** "insert Todo: title is too long" without what it was about. */
function withoutName(text) {
  return text.replace(/^(insert|update|delete) [^:]*: /, "");
}

let lastMs = 0;
let count = 0;

/** A UUID of version 7: later ones of this window sort after earlier ones. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  const now = Math.max(Date.now(), lastMs);
  count = now > lastMs ? bytes[8] : count + 1;
  lastMs = count > 0xfff ? now + 1 : now;
  count &= 0xfff;
  bytes[0] = (bytes[0] & 0x3f) | 0x80;
  const hex = (number, length) => number.toString(16).padStart(length, "0");
  const random = [...bytes.subarray(0, 8)].map((byte) => hex(byte, 2)).join("");
  const time = hex(lastMs, 12);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(count, 3)}-${random.slice(0, 4)}-${random.slice(4)}`;
}

/** Do something while no other window does. Pages that are not served over https (or by this very
 * machine) have no locks: then two windows may send the same change, which is still done once. */
function alone(name, work) {
  const locks = globalThis.navigator?.locks;
  return locks ? locks.request(name, work) : Promise.resolve().then(work);
}
