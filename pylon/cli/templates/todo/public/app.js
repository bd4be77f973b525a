// What is seen: the welcome card, the list, the connection, and problems. Data comes from sync.js.

import { call, Replica } from "./sync.js";

const TOKEN_KEY = "todo-app:token"; // shared by every window of this browser

const $ = (id) => document.getElementById(id);
let replica;

// --- Signing in and out ---------------------------------------------------------------------

function showAccordingToToken() {
  replica?.stop();
  replica = undefined;
  const token = localStorage.getItem(TOKEN_KEY);
  $("welcome").hidden = Boolean(token);
  $("list").hidden = !token;
  $("connection").hidden = !token;
  if (!token) return;
  render([]);
  $("empty").hidden = true; // not known before the first pull
  replica = new Replica(token, {
    onRows: () => render(replica.all("Todo")),
    onState: showConnection,
    onSignedOut: () => {
      localStorage.removeItem(TOKEN_KEY);
      showAccordingToToken();
      showProblem("You have been signed out.");
    },
  });
  replica.start();
}

$("sign-in").addEventListener("click", () =>
  attempt(async () => {
    const { token } = await call("POST", "api/auth/guest");
    localStorage.setItem(TOKEN_KEY, token);
    showAccordingToToken();
    $("title").focus();
  }, $("sign-in")),
);

$("sign-out").addEventListener("click", () => {
  if (!confirm("Sign out? A guest's list cannot be opened again.")) return;
  attempt(async () => {
    await call("DELETE", "api/auth/session", { token: replica.token });
    localStorage.removeItem(TOKEN_KEY);
    showAccordingToToken();
  }, $("sign-out"));
});

// Another window of this browser signed in or out.
addEventListener("storage", (event) => {
  if (event.key === TOKEN_KEY || event.key === null) showAccordingToToken();
});

// --- The list -------------------------------------------------------------------------------

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const title = $("title").value.trim();
  if (!title) return;
  attempt(async () => {
    await write("POST", "api/entities/Todo", { title });
    $("title").value = "";
  });
});

/** Change something. The result is seen when its event arrives, here as in every other window. */
async function write(method, path, body) {
  const answer = await call(method, path, { token: replica.token, body });
  if ($("connection").dataset.state !== "live") await replica.pull();
  return answer;
}

function render(todos) {
  todos.sort((a, b) => compare(a.createdAt, b.createdAt) || compare(a.id, b.id));
  const list = $("todos");
  const old = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const items = todos.map((todo) => {
    const item = old.get(todo.id) ?? newItem(todo.id);
    old.delete(todo.id);
    showTodo(item, todo);
    return item;
  });
  for (const gone of old.values()) removeItem(gone);
  items.forEach((item, place) => {
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
  });
  const done = todos.filter((todo) => todo.done).length;
  $("empty").hidden = todos.length > 0;
  $("count").textContent = todos.length ? `${done} of ${todos.length} done` : "";
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function newItem(id) {
  const item = document.createElement("li");
  item.dataset.id = id;
  item.innerHTML = `<label><input type="checkbox"><span></span></label>
    <button class="delete" type="button">×</button>`;
  const path = `api/entities/Todo/${id}`;
  const tick = item.querySelector("input");
  tick.addEventListener("change", async () => {
    const worked = await attempt(() => write("PATCH", path, { done: tick.checked }));
    if (!worked) tick.checked = !tick.checked;
  });
  const remove = item.querySelector("button");
  remove.addEventListener("click", async () => {
    if (item.dataset.leaving) return; // a second click while the first is under way
    item.dataset.leaving = "";
    const worked = await attempt(() => write("DELETE", path));
    if (!worked) delete item.dataset.leaving;
  });
  return item;
}

function showTodo(item, { title, done }) {
  item.querySelector("span").textContent = title;
  item.querySelector("input").checked = done;
  item.querySelector("button").setAttribute("aria-label", `Delete “${title}”`);
  item.toggleAttribute("data-done", done);
}

/** Take an item away; whoever was in it by keyboard goes on at its neighbour. */
function removeItem(item) {
  if (item.contains(document.activeElement)) {
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    (neighbour?.querySelector("button") ?? $("title")).focus();
  }
  item.remove();
}

// --- Connection and problems ----------------------------------------------------------------

function showConnection(state, retryInMs) {
  if (state === "live" && $("problem").dataset.code === "UNREACHABLE") showProblem("");
  const words = { live: "Live", connecting: "Connecting…", offline: "Offline, trying again…" };
  $("connection").dataset.state = state;
  $("connection").textContent = words[state];
  $("connection").title = retryInMs ? `Next try in ${Math.ceil(retryInMs / 1000)} s` : "";
}

/** Do something that may fail, with its button disabled meanwhile; says whether it worked. */
async function attempt(action, button) {
  if (button) button.disabled = true;
  try {
    await action();
    showProblem("");
    return true;
  } catch (error) {
    showProblem(error.message, error.code);
    return false;
  } finally {
    if (button) button.disabled = false;
  }
}

function showProblem(message, code = "") {
  $("problem").textContent = message;
  $("problem").dataset.code = code;
  $("problem").hidden = !message;
}

addEventListener("online", () => replica?.hurry());
addEventListener("visibilitychange", () => {
  if (!document.hidden) replica?.hurry();
});

showAccordingToToken();
