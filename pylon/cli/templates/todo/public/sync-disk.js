// What outlives a window of one user's copy: rows, queue and cursor, in IndexedDB; and the same in
// memory for browsers that keep nothing. Used by sync.js alone.

const answered = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** One user's rows, queue and cursor in IndexedDB. Every method is one transaction. */
export class Disk {
  static async open(place) {
    const request = indexedDB.open(place, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("rows"); // [entity, id] → row
      request.result.createObjectStore("queue", { keyPath: "key", autoIncrement: true });
      request.result.createObjectStore("meta"); // "cursor"
    };
    const disk = new Disk();
    disk.db = await answered(request);
    disk.db.onversionchange = () => disk.db.close(); // another window signs this user out
    return disk;
  }

  async #run(mode, work) {
    const tx = this.db.transaction(["rows", "queue", "meta"], mode);
    const done = new Promise((resolve, reject) => {
      tx.oncomplete = resolve;
      tx.onabort = () => reject(tx.error);
    });
    const [rows, queue, meta] = ["rows", "queue", "meta"].map((name) => tx.objectStore(name));
    const [result] = await Promise.all([work({ rows, queue, meta }), done]);
    return result;
  }

  load() {
    return this.#run("readonly", async ({ rows, queue, meta }) => {
      const [keys, values, ops, cursor = 0] = await Promise.all(
        [rows.getAllKeys(), rows.getAll(), queue.getAll(), meta.get("cursor")].map(answered),
      );
      return { cursor, queue: ops, rows: keys.map((key, place) => [...key, values[place]]) };
    });
  }

  queue() {
    return this.#run("readonly", ({ queue }) => answered(queue.getAll()));
  }

  add(op) {
    return this.#run("readwrite", ({ queue }) => answered(queue.add(op)));
  }

  put(ops) {
    return this.#run("readwrite", ({ queue }) => {
      for (const op of ops) queue.put(op);
    });
  }

  remove(ops) {
    return this.#run("readwrite", ({ queue }) => {
      for (const { key } of ops) queue.delete(key);
    });
  }

  /** Rows as they are at `cursor`, of all that changed since `from`, and changes that are done. If
   * the disk is not at `from` or later, another window has started anew: its rows stay. */
  advance(from, cursor, changed, settled) {
    return this.#run("readwrite", async ({ rows, queue, meta }) => {
      for (const { key } of settled) queue.delete(key);
      const stored = (await answered(meta.get("cursor"))) ?? 0;
      if (from > stored || cursor <= stored) return;
      for (const [entity, table] of changed) {
        for (const [id, row] of table) {
          if (row) rows.put(row, [entity, id]);
          else rows.delete([entity, id]);
        }
      }
      meta.put(cursor, "cursor");
    });
  }

  replace(fresh, cursor) {
    return this.#run("readwrite", ({ rows, meta }) => {
      rows.clear();
      for (const [entity, table] of fresh) {
        for (const [id, row] of table) rows.put(row, [entity, id]);
      }
      meta.put(cursor, "cursor");
    });
  }

  close() {
    this.db.close();
  }

  async clear({ keepQueue }) {
    await this.#run("readwrite", ({ rows, queue, meta }) => {
      rows.clear();
      meta.clear();
      if (!keepQueue) queue.clear();
    });
    this.db.close();
    if (!keepQueue) indexedDB.deleteDatabase(this.db.name);
  }
}

/** The same for as long as the window is open. */
export class Memory {
  #queue = new Map();
  #last = 0;

  async load() {
    return { cursor: 0, rows: [], queue: [] };
  }

  async queue() {
    return [...this.#queue.values()];
  }

  async add(op) {
    this.#queue.set(++this.#last, { ...op, key: this.#last });
    return this.#last;
  }

  async put(ops) {
    for (const op of ops) this.#queue.set(op.key, op);
  }

  async remove(ops) {
    for (const { key } of ops) this.#queue.delete(key);
  }

  async advance(from, cursor, changed, settled) {
    await this.remove(settled);
  }

  async replace() {}

  close() {}

  async clear() {}
}
