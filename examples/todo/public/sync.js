// The page's copy of the rows it may see: pulled once, then kept up to date by live events.
//
// `cursor` is the position in the server's change log up to which the copy is complete. Whatever
// happens to the connection, the copy goes on from there; after a 410 it starts again from 0.

const BASE = new URL(".", document.baseURI); // works below a prefix too, not only at /
const RETRY_MS_MIN = 400;
const RETRY_MS_MAX = 8000;

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Call the server: the parsed answer, or an ApiError with a sentence for people. */
export async function call(method, path, { token, body } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, BASE), { method, headers, body: JSON.stringify(body) });
  } catch {
    throw new ApiError(0, "UNREACHABLE", "The server cannot be reached. Try again in a moment.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const { code = "UNKNOWN", message = `The server answered ${response.status}.` } =
    answer.error ?? {};
  throw new ApiError(response.status, code, message);
}

/**
 * Keeps `rows` (entity → id → row) equal to what the server holds for this token.
 *
 * onRows() is called after every change, onState(state, retryInMs) with "connecting", "live" or
 * "offline", onSignedOut() when the server no longer knows the token.
 */
export class Replica {
  constructor(token, { onRows, onState, onSignedOut }) {
    this.token = token;
    this.rows = new Map();
    this.cursor = 0;
    this.onRows = onRows;
    this.onState = onState;
    this.onSignedOut = onSignedOut;
    this.failures = 0;
    this.stopped = false;
  }

  /** The rows of one entity. */
  all(entity) {
    return [...(this.rows.get(entity)?.values() ?? [])];
  }

  async start() {
    clearTimeout(this.timer);
    if (this.stopped) return;
    this.onState("connecting");
    try {
      const me = await call("GET", "api/auth/me", { token: this.token });
      if (this.stopped) return;
      if (!me.user_id) return this.onSignedOut();
      await this.pull();
    } catch {
      return this.retry();
    }
    if (!this.stopped) this.listen();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  /** Try again at once instead of after the pause, for example when the network is back. */
  hurry() {
    if (this.timer) this.start();
  }

  /** Fetch every change after the cursor, page by page. */
  async pull() {
    for (let more = true; more && !this.stopped; ) {
      let page;
      try {
        page = await call("GET", `api/sync/pull?since=${this.cursor}`, { token: this.token });
      } catch (error) {
        if (error.status !== 410) throw error;
        this.rows.clear(); // the server no longer has the changes since our cursor
        this.cursor = 0;
        continue;
      }
      for (const change of page.changes) {
        if (change.seq > this.cursor) this.apply(change); // else a live event was quicker
      }
      this.cursor = Math.max(this.cursor, page.cursor.last_seq);
      more = page.has_more;
    }
    this.onRows();
  }

  /** Follow the live events; the server sends what came after the cursor first. */
  listen() {
    const url = new URL(`ws?since=${this.cursor}`, BASE);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, [`bearer.${encodeURIComponent(this.token)}`]);
    this.socket = socket;
    socket.onopen = () => {
      this.failures = 0;
      this.onState("live");
    };
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (!event.seq || event.seq <= this.cursor) return;
      this.apply(event);
      this.cursor = event.seq;
      this.onRows();
    };
    socket.onclose = () => this.retry();
  }

  apply({ entity, row_id: id, kind, data }) {
    if (!this.rows.has(entity)) this.rows.set(entity, new Map());
    const table = this.rows.get(entity);
    if (kind === "delete") table.delete(id);
    else if (kind === "insert") table.set(id, { ...data, id });
    else table.set(id, { ...table.get(id), ...data, id });
  }

  /** Come back later: soon at first, then less and less often, never all clients at once. */
  retry() {
    if (this.stopped) return;
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.failures++);
    const pause = longest * (0.5 + Math.random() / 2);
    this.onState("offline", pause);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.start();
    }, pause);
  }
}
