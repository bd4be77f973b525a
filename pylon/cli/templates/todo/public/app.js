// What is seen: the welcome card, the list, the connection, and problems. Data comes from sync.js.

import { redeemPairing, savedAccount, signInAsGuest, Sync, watchAccount } from "./sync.js";

const NAME = "todo-app"; // of this app among others at the same address

const $ = (id) => document.getElementById(id);
let sync;
let pairingCode = takePairingCode();

// --- Signing in and out --------------------------------------------------------------------------

/** Show what fits whoever is signed in, and begin to follow their rows. */
function open() {
  sync?.stop();
  sync = undefined;
  forgetItems();
  showRefused([]);
  const account = savedAccount(NAME);
  $("join").hidden = !pairingCode;
  $("join-leaves").hidden = !account;
  $("welcome").hidden = Boolean(account || pairingCode);
  $("list").hidden = !account || Boolean(pairingCode);
  $("connection").hidden = !account;
  if (!account) return;
  sync = new Sync({
    name: NAME,
    onRows: showSoon,
    onStatus: showStatus,
    onSignedOut: ({ unsent }) => {
      open();
      showProblem(`You have been signed out. ${whatIsUnsent(unsent)}`);
    },
  });
  sync.start();
}

$("sign-in").addEventListener("click", () =>
  attempt($("sign-in"), async () => {
    await signInAsGuest(NAME);
    open();
    $("title").focus();
  }),
);

$("sign-out").addEventListener("click", () => {
  const { pending } = sync.status;
  const unsent = pending ? `${changes(pending)} not yet sent will be lost. ` : "";
  if (!confirm(`Sign out? ${unsent}A list that no other browser has cannot be opened again.`)) return;
  attempt($("sign-out"), async () => {
    await sync.signOut();
    open();
    $("sign-in").focus();
  });
});

watchAccount(NAME, open);

function whatIsUnsent(unsent) {
  const titles = unsent.filter((op) => op.kind === "insert").map((op) => `“${op.data.title}”`);
  return titles.length ? `These were not sent: ${titles.join(", ")}.` : "";
}

// --- A second browser ----------------------------------------------------------------------------

/** The code of a link from another browser. It leaves the address, where it could be seen. */
function takePairingCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("pair");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

addEventListener("hashchange", () => {
  pairingCode = takePairingCode() ?? pairingCode;
  if (pairingCode) open();
});

$("join-yes").addEventListener("click", () =>
  attempt($("join-yes"), async () => {
    await redeemPairing(NAME, pairingCode, sync);
    pairingCode = undefined;
    open();
    $("title").focus();
  }),
);

$("join-no").addEventListener("click", () => {
  pairingCode = undefined;
  showProblem("");
  open();
});

$("share").addEventListener("click", () =>
  attempt($("share"), async () => {
    const { url, expiresAt } = await sync.pairingLink();
    $("shared-link").value = url;
    $("shared-until").textContent = expiresAt.toLocaleTimeString([], { timeStyle: "short" });
    $("shared-local").hidden = !isThisMachine();
    $("shared-copy").textContent = "Copy link";
    $("shared").showModal();
    $("shared-link").select();
  }),
);

$("shared-copy").addEventListener("click", async () => {
  $("shared-link").select();
  try {
    await navigator.clipboard.writeText($("shared-link").value);
    $("shared-copy").textContent = "Copied";
  } catch {
    $("shared-copy").textContent = "Press Ctrl+C"; // it is selected
  }
});

function isThisMachine() {
  return ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}

// --- Changing the list ---------------------------------------------------------------------------
// Nothing here waits for the server: what fails later is shown by showRefused.

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const title = $("title").value.trim();
  try {
    if (title) sync.insert("Todo", { title, done: false });
  } catch (error) {
    return showProblem(error.message); // thousands wait already: what was typed stays
  }
  $("title").value = "";
  if (title) say(`Added ${title}`);
});

$("todos").addEventListener("change", ({ target }) => {
  sync.update("Todo", target.closest("li").dataset.id, { done: target.checked });
});

$("todos").addEventListener("click", ({ target }) => {
  if (!target.matches("button.delete")) return;
  const { id } = target.closest("li").dataset;
  const title = sync.get("Todo", id)?.title;
  sync.remove("Todo", id);
  say(`Deleted ${title}`);
});

$("clear").addEventListener("click", () => {
  const done = sync.all("Todo").filter((todo) => todo.done);
  for (const { id } of done) sync.remove("Todo", id);
  say(`Deleted ${done.length}`);
  $("title").focus();
});

// --- Showing the list ----------------------------------------------------------------------------

const items = new Map(); // id → its <li>
let waitingToShow; // ids that may look different
let frame, late; // what will show them, whichever comes first
let isFilled = false; // whether what is new now is new to the reader too

function forgetItems() {
  items.clear();
  $("todos").replaceChildren();
  $("empty").hidden = true; // not known before the copy is read
  waitingToShow = undefined;
  isFilled = false;
}

/** Once a frame, however many events come. A window that nobody sees may have no frames. */
function showSoon(changed) {
  const isPlanned = waitingToShow !== undefined;
  waitingToShow ??= new Set();
  for (const id of changed.get("Todo") ?? []) waitingToShow.add(id);
  if (isPlanned) return;
  frame = requestAnimationFrame(show);
  late = setTimeout(show, 100);
}

function show() {
  cancelAnimationFrame(frame);
  clearTimeout(late);
  const ids = waitingToShow ?? [];
  waitingToShow = undefined;
  if (!sync) return;
  let isOrderNew = false;
  for (const id of ids) {
    const todo = sync.get("Todo", id);
    const item = items.get(id);
    if (!todo) {
      if (item) removeItem(item);
      continue;
    }
    const shown = item ?? newItem(id);
    isOrderNew ||= !item || shown.dataset.at !== (todo.createdAt ?? "");
    showTodo(shown, todo);
  }
  const todos = sync.all("Todo");
  if (isOrderNew) putInOrder(todos);
  const done = todos.filter((todo) => todo.done).length;
  $("count").textContent = todos.length ? `${done} of ${todos.length} done` : "";
  $("clear").hidden = !done;
  $("empty").hidden = todos.length > 0 || (sync.cursor === 0 && sync.state !== "live");
  isFilled = true;
}

/** The oldest first. What the server has not seen has no time yet and comes last. */
function putInOrder(todos) {
  todos.sort(
    (a, b) => compare(a.createdAt ?? "~", b.createdAt ?? "~") || compare(a.id, b.id),
  );
  let here = $("todos").firstElementChild;
  for (const { id } of todos) {
    const item = items.get(id);
    if (item === here) here = here.nextElementSibling;
    else if (item) $("todos").insertBefore(item, here);
  }
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function newItem(id) {
  const item = document.createElement("li");
  item.dataset.id = id;
  item.toggleAttribute("data-new", isFilled);
  item.innerHTML = `<label><input type="checkbox">
    <div><span></span><small class="faint">not sent yet</small></div></label>
    <button class="delete" type="button">×</button>`;
  items.set(id, item);
  return item;
}

function showTodo(item, { id, title, done, createdAt = "" }) {
  item.querySelector("span").textContent = title;
  item.querySelector("input").checked = done;
  item.querySelector("button").setAttribute("aria-label", `Delete “${title}”`);
  item.querySelector("small").hidden = !sync.isPending("Todo", id);
  item.toggleAttribute("data-done", done);
  item.dataset.at = createdAt ?? "";
}

/** Take an item away; whoever was in it by keyboard goes on at its neighbour. */
function removeItem(item) {
  if (item.contains(document.activeElement)) {
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    (neighbour?.querySelector("button") ?? $("title")).focus();
  }
  items.delete(item.dataset.id);
  item.remove();
}

// --- Connection and problems ---------------------------------------------------------------------

const STATES = { live: "Live", connecting: "Connecting…", offline: "Offline" };

function showStatus({ state, pending, refused, isStored, latencyMs }) {
  const pill = $("connection");
  if (pill.dataset.state !== state || !pill.textContent) {
    pill.dataset.state = state;
    pill.textContent = STATES[state];
    showSoon(new Map()); // "nothing to do" is known once it is live
  }
  if (state === "live" && $("problem").dataset.code === "UNREACHABLE") showProblem("");
  let waiting = "";
  if (state === "offline") {
    const kept = isStored ? "kept here" : "kept while this window is open";
    waiting = pending ? `${changes(pending)} ${kept}, sent when the server is back` : "";
  } else if (!pending && latencyMs < 1000) {
    waiting = `saved in ${latencyMs} ms`;
  }
  $("waiting").textContent = waiting;
  showRefused(refused);
}

function changes(number) {
  return number === 1 ? "1 change" : `${number} changes`;
}

const VERBS = { insert: "added", update: "changed", delete: "deleted" };

/** One line for each change that the server refused. The list shows what the server has. */
function showRefused(refused) {
  const list = $("refused");
  const known = new Map([...list.children].map((line) => [line.dataset.op, line]));
  for (const op of refused) {
    if (!known.delete(op.opId)) list.append(refusedLine(op));
  }
  for (const gone of known.values()) gone.remove();
}

function refusedLine(op) {
  const line = document.createElement("li");
  line.dataset.op = op.opId;
  const text = document.createElement("p");
  const todo = sync.get("Todo", op.id);
  const isGone = op.kind !== "insert" && /^no such row/i.test(op.message);
  const title = op.data?.title ?? todo?.title ?? items.get(op.id)?.querySelector("span").textContent;
  const reason = isGone ? "it has been deleted elsewhere." : op.message;
  text.textContent = `${title ? `“${title}”` : "A todo"} was not ${VERBS[op.kind]}: ${reason}`;
  const buttons = document.createElement("span");
  buttons.className = "buttons";
  const add = (label, action) => {
    const button = document.createElement("button");
    button.className = "quiet";
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      action();
      $("title").focus();
    });
    buttons.append(button);
  };
  if (op.kind === "insert") {
    add("Edit", () => {
      $("title").value ||= op.data.title;
      sync.dismiss(op);
    });
  }
  if (!isGone) add("Try again", () => sync.retry(op));
  add("Dismiss", () => sync.dismiss(op));
  line.append(text, buttons);
  return line;
}

/** Do something that needs the server now, with its button disabled meanwhile. */
async function attempt(button, action) {
  button.disabled = true;
  showProblem("");
  try {
    await action();
  } catch (error) {
    showProblem(error.message, error.code);
  } finally {
    button.disabled = false;
  }
}

function showProblem(message, code = "") {
  $("problem").textContent = message;
  $("problem").dataset.code = code;
  $("problem").hidden = !message;
}

/** For those who hear the page. */
function say(text) {
  $("said").textContent = text;
}

// --- The page itself -----------------------------------------------------------------------------

for (const event of ["online", "offline", "focus"]) addEventListener(event, () => sync?.check());
document.addEventListener("visibilitychange", () => document.hidden || sync?.check());

open();
navigator.serviceWorker?.register("sw.js").catch(() => {}); // then a reload works offline too
